"""A pause against what goes on: nothing of a paused tree starts, and all of it goes on when it is resumed."""

import pytest

from approvals.models import Request
from orchestration.engine import answers
from orchestration.engine.levers import pausing
from orchestration.models import Run, Step
from tests.harness import assert_all_sound, claim, end, make_worker, race, until
from tests.orchestration.engine.test_run_steps import launch

ROUNDS = 200
PARENT = "name: parent\nsteps: {call: {run: child}}"
GATE = "name: gate\nsteps: {ask: {approval: {title: t}}, after: {agent: echo, needs: [ask]}}"


@pytest.fixture
def tree(save, start_many):
    """Runs whose step is about to start a run, by a worker that insists."""
    child = save("name: child\nsteps: {a: {agent: echo}}")
    runs, worker = start_many(PARENT), make_worker()
    places = sorted(claim(worker, ROUNDS))
    assert [place[0] for place in places] == runs

    def begins(number):
        while "busy" in (said := end(worker, places[number], "waiting", **launch(child))):
            pass
        return said

    return worker, Run.objects.in_bulk(runs), runs, begins


def everything():
    return assert_all_sound(list(Run.objects.values_list("pk", flat=True)))


def test_a_child_that_is_started_while_its_parent_is_paused_waits_with_it(tree, members):
    worker, rows, runs, begins = tree
    race(ROUNDS, begins, lambda n: pausing.pause(rows[runs[n]], by=members.operator, reason="race"))
    found = everything()
    assert (len(found), {run.status for run in found}) == (2 * ROUNDS, {"paused"})
    assert claim(worker, ROUNDS) == []
    for run in runs:
        pausing.resume(rows[run], by=members.operator, reason="go")
    assert len(claim(worker, 2 * ROUNDS)) == ROUNDS
    assert "paused" not in {run.status for run in everything()}


def test_a_child_that_is_started_while_its_parent_is_resumed_goes_on_with_it(tree, members):
    worker, rows, runs, begins = tree
    for run in runs:
        pausing.pause(rows[run], by=members.operator, reason="race")
    race(ROUNDS, begins, lambda n: pausing.resume(rows[runs[n]], by=members.operator, reason="go"))
    assert "paused" not in {run.status for run in everything()}
    assert len(claim(worker, 2 * ROUNDS)) == ROUNDS


def test_an_answer_to_a_run_that_is_being_paused_starts_nothing_until_it_is_resumed(start_many, members, engine_later):
    runs = start_many(GATE)
    here = engine_later()
    until(lambda: Request.objects.pending().count() == ROUNDS)
    here.stop()
    worker, rows = make_worker(), Run.objects.in_bulk(runs)
    asked = {request.context["run_id"]: request for request in Request.objects.pending()}
    for request in asked.values():
        request.decide(by=members.approver, choice="continue", digest=request.digest)
    race(
        ROUNDS,
        lambda n: answers._take_up(asked[runs[n]].pk),
        lambda n: pausing.pause(rows[runs[n]], by=members.operator, reason="race"),
    )
    assert {run.status for run in assert_all_sound(runs)} == {"paused"}
    assert Step.objects.filter(run__in=runs, name="after", status="ready").count() == ROUNDS
    assert claim(worker, ROUNDS) == []
    for run in runs:
        pausing.resume(rows[run], by=members.operator, reason="go")
    assert len(claim(worker, 2 * ROUNDS)) == ROUNDS
