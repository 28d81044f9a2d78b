"""Every verb of a person in every status: it moves what it may move, and leaves all else as it was."""

import pytest

from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.exceptions import NotUncertain, RunEnded
from orchestration.models import Run, Step

RUN_ENDED = set(Run.ENDED)
RESOLVED = {"completed": "completed", "failed": "failed", "again": "ready"}


def run_in(begin, status):
    run = begin("  a: {agent: echo}\n")
    rows(
        "update orchestration_run set status = %s, ending = 'canceled',"
        " ended_at = case when %s then clock_timestamp() end where id = %s",
        [status, status in RUN_ENDED, run.pk],
    )
    run.refresh_from_db()
    return run


def step_in(begin, status):
    run = begin("  a: {agent: echo}\n")
    owner = 1 if status == "running" else None
    rows("update orchestration_step set status = %s, owner = %s where run_id = %s", [status, owner, run.pk])
    return run, Step.objects.get(run=run, key=1)


@pytest.mark.parametrize("status", Run.Status.values)
def test_cancel_in_every_status(begin, members, status):
    run = run_in(begin, status)
    if status in RUN_ENDED:
        with pytest.raises(RunEnded):
            answers.cancel(run, by=members.operator, reason="r")
        assert (Run.objects.get(pk=run.pk).status, Step.objects.get(run=run, key=1).status) == (status, "ready")
        return
    after = answers.cancel(run, by=members.operator, reason="r")
    assert after == ("canceling" if status == "canceling" else "canceled")
    assert Run.objects.get(pk=run.pk).status == after


@pytest.mark.parametrize("outcome", RESOLVED)
@pytest.mark.parametrize("status", Step.Status.values)
def test_resolve_in_every_status(begin, members, status, outcome):
    run, step = step_in(begin, status)
    if status != "uncertain":
        with pytest.raises(NotUncertain):
            answers.resolve(run, step, by=members.operator, outcome=outcome, output={"value": 1}, reason="r")
        assert Step.objects.get(run=run, key=1).status == status
        return
    output = {"value": 1} if outcome == "completed" else None
    answers.resolve(run, step, by=members.operator, outcome=outcome, output=output, reason="r")
    assert Step.objects.get(run=run, key=1).status == RESOLVED[outcome]
