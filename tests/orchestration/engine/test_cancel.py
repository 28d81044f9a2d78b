"""Runs that are canceled while steps wait, or run."""

import pytest

from approvals.exceptions import AlreadyEnded
from orchestration.engine import answers
from orchestration.exceptions import RunEnded
from tests.harness import until
from tests.orchestration.engine.looks import GATE, pending, statuses, waiting


def test_cancel_ends_what_waits_and_withdraws_the_question(begin, engine, members, finished):
    run = begin(GATE)
    engine.look()
    waiting(run)
    request = pending(run)
    assert answers.cancel(run, by=members.operator, reason="enough") == "canceled"
    run = finished(run)
    assert statuses(run) == {"figures": "completed", "side": "completed", "check": "canceled", "after": "canceled"}
    with pytest.raises(AlreadyEnded):
        request.decide(by=members.approver, choice="continue", digest=request.digest)
    with pytest.raises(RunEnded):
        answers.cancel(run, by=members.operator, reason="again")


def test_cancel_asks_a_call_to_stop_and_starts_nothing(begin, engine, members, finished, hold):
    run = begin("  a: {agent: hold}\n  b: {agent: echo, needs: [a]}\n  c: {agent: hold}\n")
    engine.look()
    until(lambda: len(hold.calls) == 2)
    assert answers.cancel(run, by=members.operator, reason="enough") == "canceling"
    assert answers.cancel(run, by=members.operator, reason="again") == "canceling"
    run = finished(run)
    assert (run.status, statuses(run)) == ("canceled", {"a": "canceled", "b": "canceled", "c": "canceled"})


def test_a_call_that_ends_in_a_canceled_run_is_recorded_as_it_ended(begin, engine, members, finished, hold):
    hold.deaf = True
    run = begin("  a: {agent: hold}\n  b: {agent: echo, needs: [a]}\n")
    engine.look()
    until(lambda: hold.calls)
    answers.cancel(run, by=members.operator, reason="enough")
    hold.go.set()
    run = finished(run)
    assert (run.status, statuses(run)) == ("canceled", {"a": "completed", "b": "canceled"})
