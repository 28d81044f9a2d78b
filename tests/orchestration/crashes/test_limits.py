"""Who holds a slot of a limit, or stands in its line, and a worker that dies."""

import pytest

from orchestration.models import LimitPlace, LimitSlot, Run, Worker
from tests.harness import assert_all_sound, until

TEXT = "  a: {agent: echo, map: {over: [1, 2, 3]}, with: {value: 1}, concurrency: {key: k, max: 1}}\n"


def all_had_their_turn():
    until(lambda: not Run.objects.filter(ended_at=None).exists(), 60)
    until(lambda: not LimitSlot.objects.exists() and not LimitPlace.objects.exists())
    runs = assert_all_sound(list(Run.objects.values_list("pk", flat=True)))
    assert {run.status for run in runs} == {"completed"}


@pytest.mark.parametrize(
    ("point", "nth"), [("acquired", 1), ("acquired", 3), ("called", 2), ("flush", 3), ("recorded", 3), ("swept", 3)]
)
def test_a_kill_at_this_point_frees_what_was_held(nursery, begin, at_rest, point, nth):
    for _ in range(2):
        begin(TEXT)
    victim = nursery.worker(at=point, nth=nth)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    all_had_their_turn()
    at_rest(heir)


def test_a_worker_frozen_with_a_slot_has_none_when_it_wakes_up(nursery, begin, at_rest):
    short = {"WORKER_LEASE_SECONDS": 1.0, "WORKER_HEARTBEAT_SECONDS": 0.2}
    begin(TEXT)
    victim = nursery.worker(at="acquired", what="freeze", WORKER_THREADS=1, **short)
    until(lambda: victim.reached)
    heir = nursery.worker(**short)
    all_had_their_turn()
    victim.go_on()
    until(lambda: Worker.objects.filter(pid=victim.pid, dead_at=None).exists())  # another life
    all_had_their_turn()
    at_rest(heir, victim)
