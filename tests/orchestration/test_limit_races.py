"""Limits against everything that may happen at the same moment, with real threads and connections."""

import itertools
import json
import threading
from contextlib import suppress

import pytest

from orchestration.doctor import examine
from orchestration.engine import answers, slots
from orchestration.engine.connection import decoded, rows, value
from orchestration.engine.starts import start_version
from orchestration.exceptions import RunEnded
from orchestration.models import Limit, Run, Step
from tests.harness import claim, flush, insistently, make_worker, race, sweep

ROUNDS = 200
TEXT = "name: calls\nsteps: {a: {agent: echo, concurrency: {max: 1}}}"


class Limited:
    """In each round so many runs, whose steps are claimed and about to call; each round has a limit of its own."""

    def __init__(self, version, organization, by):
        self.organization, self.by = organization, by
        self.start = lambda: start_version(version.pk, organization.pk, {}, by=by.pk)
        self.worker = make_worker()

    def steps(self, count=ROUNDS):
        runs = [self.start() for _ in range(count)]
        found = {step[0]: step for step in claim(self.worker, 9_999)}
        return [found[run] for run in runs]

    def ask(self, step, *keys, most=1):
        """Whether it has all; if not, it waits for the limit."""
        wanted = [{"kind": "steps", "key": str(key), "max": most, "units": 1} for key in keys]
        asked = [self.organization.pk, *step, json.dumps(wanted)]
        if decoded(value("select engine_acquire_v1(%s, %s, %s, %s, %s)", asked)) is None:
            return True
        insistently(lambda: flush(self.worker, step, "waiting", waits_for="limit"))
        return False

    def end(self, step):
        insistently(lambda: flush(self.worker, step))

    def settle(self):
        """Who is called up, claimed again."""
        slots.tend()
        while sweep(self.worker)["limits"] or sweep(self.worker)["swept"]:
            slots.tend()
        return {step[0]: step for step in claim(self.worker, 9_999)}

    def sound(self):
        assert [str(finding) for finding in examine()] == []


@pytest.fixture
def limited(committed, save, organization, members):
    return Limited(save(TEXT), organization, members.operator)


def test_a_release_against_one_who_asks(limited):
    holders, comers = limited.steps(), limited.steps()
    assert all(limited.ask(step, n) for n, step in enumerate(holders))
    had = race(ROUNDS, lambda n: limited.end(holders[n]), lambda n: limited.ask(comers[n], n))
    again = limited.settle()
    limited.sound()
    waited = [n for n, (_, at_once) in enumerate(had) if not at_once]
    assert sorted(again) == sorted(comers[n][0] for n in waited)  # nobody waits for what is free
    assert all(limited.ask(again[comers[n][0]], n) for n in waited)


def test_a_change_against_a_release(limited):
    holders, second, third = limited.steps(), limited.steps(), limited.steps()
    for n in range(ROUNDS):
        assert [limited.ask(step, n) for step in (holders[n], second[n], third[n])] == [True, False, False]
    pks = {int(limit.key): limit.pk for limit in Limit.objects.all()}

    def change(n):
        rows("select engine_limit_v1(%s, 2, null, null)", [pks[n]])

    race(ROUNDS, lambda n: limited.end(holders[n]), change)
    again = limited.settle()
    limited.sound()
    assert len(again) == 2 * ROUNDS  # the one of who ended, and the one more
    assert all(limited.ask(again[step[0]], n, most=1) for n, step in [*enumerate(second), *enumerate(third)])


def test_two_limits_in_opposite_order_on_eight_threads(limited):
    """Never more than there may be, no deadlock, and all have their turn."""
    steps, most = limited.steps(), 3
    lock, inside = threading.Lock(), []
    turns = itertools.cycle([("a", "b"), ("b", "a")])
    keys = {step[0]: next(turns) for step in steps}

    def work(step):
        if not limited.ask(step, *keys[step[0]], most=most):
            return
        with lock:
            inside.append(step)
            assert len(inside) <= most
        with lock:
            inside.remove(step)
        limited.end(step)

    while steps:
        shares = [steps[seat::8] for seat in range(8)]
        race(len(shares[0]), *[lambda n, share=share: n < len(share) and work(share[n]) for share in shares])
        steps = list(limited.settle().values())
    limited.sound()
    assert set(Step.objects.values_list("status", flat=True)) == {"completed"}


def test_a_cancel_of_who_is_next_against_a_release(limited):
    holders, second, third = limited.steps(), limited.steps(), limited.steps()
    for n in range(ROUNDS):
        assert [limited.ask(step, n) for step in (holders[n], second[n], third[n])] == [True, False, False]

    def end(n):
        limited.end(holders[n])
        slots.tend()

    def cancel(n):
        with suppress(RunEnded):
            answers.cancel(Run.objects.get(pk=second[n][0]), by=limited.by, reason="r")

    race(ROUNDS, end, cancel)
    again = limited.settle()
    limited.sound()
    assert sorted(again) == sorted(step[0] for step in third)


def test_a_pause_of_who_is_next_against_a_release(limited):
    holders, second, third = limited.steps(), limited.steps(), limited.steps()
    for n in range(ROUNDS):
        assert [limited.ask(step, n) for step in (holders[n], second[n], third[n])] == [True, False, False]

    def end(n):
        limited.end(holders[n])
        slots.tend()

    race(ROUNDS, end, lambda n: rows("select engine_pause_v1(%s, '{}')", [second[n][0]]))
    again = limited.settle()
    limited.sound()
    assert sorted(again) == sorted(step[0] for step in third)
