"""Which errors are tried again, how often, and after which pause."""

import pytest

from agents.exceptions import Permanent, Temporary, TimedOut
from orchestration.engine import children, retries
from orchestration.engine.connection import rows
from orchestration.engine.starts import start_version
from orchestration.models import Event, Run
from tests.harness import assert_all_sound, claim, end, make_worker, race, until
from tests.orchestration.engine.looks import step, types

RETRY = {"attempts": 3, "backoff": 2.0, "factor": 3.0, "max": 30.0, "jitter": 0.0}
ADDED = {**RETRY, "factor": 1.0, "add": 5.0}
ON = {**RETRY, "on": {"timeout": {**RETRY, "attempts": 2}, "permanent": {**RETRY, "backoff": 1.0}}}


@pytest.mark.parametrize(
    ("retry", "error", "pauses"),
    [
        (RETRY, "temporary", [2, 6, None]),
        (RETRY, "timeout", [2, 6, None]),
        (RETRY, "permanent", [None]),
        (RETRY, "child_failed", [None]),
        ({**RETRY, "attempts": 6}, "temporary", [2, 6, 18, 30, 30, None]),
        ({**ADDED, "attempts": 6}, "temporary", [2, 7, 12, 17, 22, None]),
        (ON, "temporary", [2, 6, None]),
        (ON, "timeout", [2, None]),
        (ON, "permanent", [1, 3, None]),
        (None, "temporary", [None]),
    ],
)
def test_the_pause_by_class_and_attempt(retry, error, pauses):
    rule = retries.rule_for(retry, error)
    assert [retries.retry_delay(rule, attempt) for attempt in range(1, len(pauses) + 1)] == pauses


def test_each_class_has_its_own_number_of_tries(begin, engine, hold, finished):
    hold.go.set()
    hold.errors = [Temporary("busy"), Permanent("no"), Temporary("busy"), Permanent("no"), Permanent("never")]
    rule = "{attempts: 9, backoff: 1ms, on: {permanent: {attempts: 5}, timeout: {attempts: 1}}}"
    run = begin(f"  a: {{agent: hold, retry: {rule}}}\n")
    engine.look()
    assert (finished(run).error["message"], step(run, "a").attempt) == ("never", 5)
    hold.errors = [TimedOut("late")]
    run = begin(f"  a: {{agent: hold, retry: {rule}}}\n")
    engine.look()
    assert (finished(run).error["class"], step(run, "a").attempt) == ("timeout", 1)


@pytest.mark.parametrize("asked", [0.0, 0.2])
def test_what_the_provider_asks_for_stands_in_place_of_the_pause(begin, engine_later, hold, finished, settings, asked):
    settings.WORKER_SWEEP_SECONDS = 3600
    hold.go.set()
    hold.errors = [Temporary("busy", retry_after=asked)]
    run = begin("  a: {agent: hold, retry: {attempts: 2, backoff: 1h, max: 2h}}\n")
    engine_later()
    run = finished(run)
    first, second = [event.at for event in Event.objects.filter(run_id=run.pk, type="step.started").order_by("seq")]
    assert (second - first).total_seconds() >= asked


@pytest.mark.parametrize(("ago", "becomes"), [("59 minutes", "waiting"), ("61 minutes", "failed")])
def test_no_try_begins_after_the_total_time(begin, engine, hold, ago, becomes):
    hold.errors = [Temporary("busy")]
    run = begin("  a: {agent: hold, retry: {attempts: 5, backoff: 1s, jitter: 0, total: 1h}}\n")
    engine.look()
    until(lambda: hold.calls)
    rows("update orchestration_step set first_at = started_at - %s::interval where run_id = %s", [ago, run.pk])
    hold.go.set()
    until(lambda: step(run, "a").status == becomes)


def test_a_child_that_failed_is_started_again(begin, engine, boss, save, hold, finished):
    hold.go.set()
    hold.errors = [Permanent("no")]
    save("name: child\nsteps: {a: {agent: hold}}\n")
    run = begin("  call: {agent: boss, with: {}, retry: {attempts: 3, backoff: 1ms, on: {child_failed: {}}}}\n")
    engine.look()
    assert finished(run).status == "completed"
    children_of = Run.objects.filter(parent_run_id=run.pk).order_by("pk")
    assert list(children_of.values_list("status", flat=True)) == ["failed", "completed"]
    assert types(run).count("step.retrying") == 1


def test_a_childs_end_told_twice_at_once_is_one_try(begin, committed, boss, save):
    version = save("name: child\nsteps: {a: {agent: echo}}\n")
    text = "  call: {agent: boss, retry: {attempts: 2, backoff: 1h, max: 1h, on: {child_failed: {}}}}\n"
    runs = [begin(text) for _ in range(200)]
    worker = make_worker()
    for _ in runs:
        (place,) = claim(worker)
        child = start_version(version.pk, runs[0].organization_id, {}, by=None, parent=place[:2], depth=1)
        end(worker, place, "waiting", waits_for="child", child=child)
        end(worker, claim(worker)[0], "failed", error={"class": "permanent", "message": "no"})
    ended = list(Run.objects.filter(parent_run_id__gt=0).order_by("pk").values_list("pk", flat=True))

    def tell(number):
        children._tell_parent(ended[number])

    race(200, tell, tell)
    assert_all_sound([run.pk for run in runs])
    assert all(types(run).count("step.retrying") == 1 for run in runs)
