"""Cancels against ends of what can be undone: it is undone, or was never done. 200 rounds each."""

import pytest

from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.exceptions import RunEnded
from orchestration.models import Event, Run, Step
from tests.harness import assert_all_sound, claim, end, flush, insistently, make_worker, race

ROUNDS = 200
UNDO = {"undo": {"reversible": True, "agent": "echo", "input": {"value": 1}}}
ONE = "name: one\nsteps: {a: {agent: echo, compensate: {agent: echo}}}"
TWO = "name: two\nsteps: {a: {agent: echo, compensate: {agent: echo}}, b: {agent: echo, needs: [a]}}"
ERROR = {"class": "permanent", "message": "no"}


def finish(runs):
    """End what is ready until nothing moves."""
    worker = make_worker()
    while claimed := claim(worker, 200):
        for step in claimed:
            assert end(worker, step, output={}) in ([], ["ready:tool"])
    return assert_all_sound(runs)


@pytest.fixture
def canceled(members):
    def canceled(runs):
        def cancel(n):
            try:
                return answers.cancel(Run.objects.get(pk=runs[n]), by=members.operator, reason="r")
            except RunEnded:
                return None

        return cancel

    return canceled


def undone(runs):
    """How often what each run did was taken back."""
    found = dict.fromkeys(runs, 0)
    for run in Step.objects.filter(run_id__in=runs, status="completed").exclude(undoes=None).values_list("run_id"):
        found[run[0]] += 1
    return found


def test_a_steps_end_against_a_cancel(start_many, canceled):
    runs = start_many(TWO)
    worker = make_worker()
    places = {step[0]: step for step in claim(worker, ROUNDS)}

    def ends(n):
        return insistently(lambda: flush(worker, places[runs[n]], output={"value": 1}, more=UNDO, follow=n % 2 == 0))

    race(ROUNDS, ends, canceled(runs))
    left = rows("select run_id, key, fence from orchestration_step where status = 'running' and kind = 'agent'")
    for step in left:  # what the flush took of the second steps; they end as they like
        end(worker, step, output={"value": 2})
    ended = finish(runs)
    assert {run.status for run in ended} == {"canceled"}
    assert undone(runs) == dict.fromkeys(runs, 1)


def test_a_call_that_is_handed_back_against_a_cancel(start_many, canceled):
    """Begun, and broken off: either it is done anew and undone, or a person is asked."""
    runs = start_many(ONE)
    worker = make_worker()
    places = {step[0]: step for step in claim(worker, ROUNDS)}

    def hands_back(n):
        return insistently(lambda: flush(worker, places[runs[n]], "ready", more={"begun": True}))

    race(ROUNDS, hands_back, canceled(runs))
    ended = finish(runs)
    assert {run.status for run in ended} == {"canceled"}
    assert undone(runs) == dict.fromkeys(runs, 1)  # here the test's own hand says that it was
    assert not Step.objects.filter(run_id__in=runs, name="a", undo__reversible=True).exists()


def test_a_failure_against_a_cancel_undoes_once(start_many, canceled):
    runs = start_many(TWO)
    worker = make_worker()
    for step in claim(worker, ROUNDS):
        end(worker, step, output={"value": 1}, more=UNDO)
    places = {step[0]: step for step in claim(worker, ROUNDS)}

    def fails(n):
        return insistently(lambda: flush(worker, places[runs[n]], "failed", error=ERROR))

    race(ROUNDS, fails, canceled(runs), canceled(runs))
    ended = finish(runs)
    assert {run.status for run in ended} <= {"canceled", "failed"}
    assert undone(runs) == dict.fromkeys(runs, 1)
    assert Event.objects.filter(run_id__in=runs, type="run.compensating").count() == ROUNDS


def test_the_last_undos_end_against_a_cancel_and_another_end(start_many, canceled):
    runs = start_many(TWO)
    worker = make_worker()
    for step in claim(worker, ROUNDS):
        end(worker, step, output={"value": 1}, more=UNDO)
    for step in claim(worker, ROUNDS):
        end(worker, step, "failed", error=ERROR)
    places = {step[0]: step for step in claim(worker, ROUNDS)}
    assert len(places) == ROUNDS

    def ends(n):
        return insistently(lambda: flush(worker, places[runs[n]], output={}))

    race(ROUNDS, ends, canceled(runs), ends)
    ended = finish(runs)
    assert {run.status for run in ended} == {"failed"}
    assert undone(runs) == dict.fromkeys(runs, 1)
