"""Runs that start runs, and how a child's end ends its parent's step."""

import pytest

from approvals.models import Request
from orchestration.engine import answers, children
from orchestration.engine.connection import value
from orchestration.engine.levers import pausing
from orchestration.engine.starts import start_version
from orchestration.models import Payload, Run
from tests.harness import claim, end, make_worker, until
from tests.orchestration.engine.looks import CHILD, PARENT, decide, pending, step, waiting

GATED = "name: child\nsteps: {a: {approval: {title: t}}, b: {agent: echo, needs: [a]}}\noutput: 5"


def child_of(run):
    return until(lambda: Run.objects.filter(parent_run_id=run.pk).first())


@pytest.mark.parametrize("big", [False, True])
def test_a_childs_output_is_its_parents_steps(begin, engine, boss, save, finished, big):
    number = "x" * 9000 if big else 4
    save(CHILD.replace(', fail: "${{ input.fail }}"', ""))
    run = begin(PARENT.replace('n: 4, fail: "${{ input.fail }}"', 'n: "${{ input.n }}"'), {"n": number})
    engine.look()
    run = finished(run)
    child = finished(child_of(run))
    assert (child.status, child.depth, run.status) == ("completed", 1, "completed")
    assert child.told_at is not None
    last = step(run, "b")
    if big:
        assert Payload.objects.get(digest=last.output_digest).body == {"value": number}
    else:
        assert last.output == {"value": 4}


def test_a_failed_child_fails_its_parents_step(begin, engine, boss, save, finished):
    save(CHILD)
    run = begin(PARENT, {"fail": {"kind": "permanent"}})
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"], run.error["step"]) == ("failed", "child_failed", "call")


def test_one_parent_that_cannot_be_told_holds_up_no_other(begin, committed, boss, save, finished):
    version = save("name: child\nsteps: {a: {approval: {title: t}}}\n")
    runs = [begin("  call: {agent: boss}\n") for _ in range(2)]
    worker = make_worker()
    for run in runs:
        (place,) = claim(worker)
        child = start_version(version.pk, run.organization_id, {}, by=None, parent=place[:2], depth=1)
        end(worker, place, "waiting", waits_for="child", child=child)
        value("select engine_cancel_v4(%s, 'canceled', '{}')", [child])
    Run.objects.filter(parent_run_id=runs[0].pk).update(error=["broken"])
    assert children.tell_parents() == 1
    assert children.tell_parents() == 0
    assert [Run.objects.get(pk=run.pk).has_ended for run in runs] == [False, True]


def test_a_rejected_child_fails_its_parents_step(begin, engine, boss, save, members, finished):
    save(GATED)
    run = begin(PARENT, {"fail": None})
    engine.look()
    assert waiting(run).status == "waiting"
    assert step(run, "call").waits_for == "child"
    decide(child_of(run), members.approver, "abort", note="no")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "child_rejected")


def test_a_canceled_child_fails_its_parents_step(begin, engine, boss, save, members, finished):
    save(GATED)
    run = begin(PARENT, {"fail": None})
    engine.look()
    child = child_of(run)
    pending(child)
    answers.cancel(child, by=members.operator, reason="r")
    engine.look()
    assert finished(run).error["class"] == "child_canceled"


def test_a_canceled_parent_cancels_its_child(begin, engine, boss, save, members, finished):
    save(GATED)
    run = begin(PARENT, {"fail": None})
    engine.look()
    child = child_of(run)
    request = pending(child)
    answers.cancel(run, by=members.operator, reason="r")
    engine.look()
    assert (finished(run).status, finished(child).status) == ("canceled", "canceled")
    until(lambda: Request.objects.get(pk=request.pk).status == "withdrawn")


def test_a_run_is_paused_and_canceled_with_all_that_it_started(begin, engine, boss, save, members, finished):
    save(GATED)
    run = begin(PARENT, {"fail": None})
    engine.look()
    child = child_of(run)
    until(lambda: Run.objects.get(pk=child.pk).status == "waiting")
    pausing.pause(run, by=members.operator, reason="stop")
    assert {row.status for row in Run.objects.filter(pk__in=[run.pk, child.pk])} == {"paused"}
    pausing.resume(run, by=members.operator, reason="go")
    answers.cancel(run, by=members.operator, reason="enough")
    assert [finished(row).status for row in (child, run)] == ["canceled", "canceled"]


def test_runs_that_start_themselves_come_to_an_end(begin, engine, boss, save, finished):
    save("name: child\nsteps: {call: {agent: boss, with: {}}}")
    run = begin("  call: {agent: boss}\n")
    engine.look()
    assert finished(run).error["class"] == "child_failed"
    assert Run.objects.count() == 17
