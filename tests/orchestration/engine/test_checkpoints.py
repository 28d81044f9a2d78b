"""Steps that ask people, and what their answers do."""

import pytest

from approvals.exceptions import StaleDigest
from approvals.models import Request
from orchestration.models import Deliverable, Event, Step
from tests.harness import until
from tests.orchestration.engine.looks import GATE, decide, nested, pending, statuses, step, types, waiting


def test_a_checkpoint_waits_and_goes_on_with_the_edited_payload(begin, engine, members, finished):
    run = begin(GATE)
    engine.look()
    run = waiting(run)
    assert statuses(run) == {"figures": "completed", "side": "completed", "check": "waiting", "after": "blocked"}
    assert step(run, "check").waits_for == "approval"
    decide(run, members.approver, edits={"/rows/0/amount": 12})
    engine.look()
    run = finished(run)
    assert run.output == {"amount": 12, "by": members.approver.name, "round": 1}
    assert (
        types(run)[-7:]
        == [
            "checkpoint.resolved",
            "step.completed",
            "step.started",
            "step.completed",
            "run.completed",
        ][-7:]
        or types(run).count("checkpoint.resolved") == 1
    )
    assert Request.objects.get().acknowledged_at is not None


def test_retry_opens_a_round_again_and_again(begin, engine, members, finished):
    run = begin(GATE)
    engine.look()
    for number in (1, 2):
        first = pending(run)
        decide(run, members.approver, "retry", note=f"note {number}")
        engine.look()
        until(lambda first=first: pending(run).pk != first.pk)
        assert pending(run).payload == {"rows": [{"amount": 1}], "round": number + 1, "note": f"note {number}"}
        waiting(run)
    with pytest.raises(StaleDigest) as refused:
        pending(run).decide(by=members.approver, choice="continue", digest=first.digest)
    assert refused.value.difference
    decide(run, members.approver)
    engine.look()
    run = finished(run)
    assert run.output == {"amount": 1, "by": members.approver.name, "round": 3}
    rounds = [
        (row.name, row.round, row.status) for row in Step.objects.filter(run_id=run.pk).order_by("key") if row.name
    ]
    assert rounds == [
        ("figures", 1, "completed"),
        ("side", 1, "completed"),
        ("check", 1, "completed"),
        ("after", 1, "completed"),
        ("figures", 2, "completed"),
        ("check", 2, "completed"),
        ("figures", 3, "completed"),
        ("check", 3, "completed"),
    ]
    assert types(run).count("run.round_opened") == 2


def test_abort_rejects_the_run_and_keeps_nothing_open(begin, engine, members, finished):
    run = begin(GATE)
    engine.look()
    decide(run, members.approver, "abort", note="no")
    engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("rejected", None)
    assert statuses(run)["after"] == "canceled"


def test_a_deadline_answers_with_its_default_in_time(begin, engine_later, finished, settings):
    settings.WORKER_SWEEP_SECONDS = 3600
    run = begin(
        "  a: {approval: {title: t, deadline: {after: 300ms, then: continue}}}\n  b: {agent: echo, needs: [a]}\n"
    )
    engine_later()
    run = finished(run)
    request = Request.objects.get()
    assert (run.status, request.status) == ("completed", "expired")
    started = Event.objects.get(run_id=run.pk, type="step.started", data__step="a").at
    assert (request.deadline_at - started).total_seconds() >= 0.3
    assert request.decided_at >= request.deadline_at


def test_what_is_not_what_was_decided_does_not_run_but_is_asked_again(
    begin, engine, members, hold, save_agent, finished
):
    hold.go.set()
    run = begin("  a: {approval: {title: t}}\n  b: {agent: hold, needs: [a]}\n")
    engine.look()
    waiting(run)
    request = pending(run)
    other = save_agent(name="hold", kind="tool", configuration={"tool": "hold"}, input={"type": "object"})
    Step.objects.filter(run_id=run.pk, name="b").update(agent_version_id=other.pk)
    decide(run, members.approver)
    engine.look()
    until(lambda: pending(run).pk != request.pk)
    run = waiting(run)
    assert (hold.calls, statuses(run)["b"]) == ([], "blocked")
    assert pending(run).digest != request.digest
    decide(run, members.approver)
    engine.look()
    run = finished(run)
    assert (run.status, hold.calls) == ("completed", [f"{run.public_id}:b:1"])


def test_a_checkpoint_that_cannot_be_asked_fails_its_step(begin, engine, finished):
    run = begin('  a: {approval: {title: t, show: {deeper: "${{ input.n }}"}}}\n', {"n": nested(99)})
    engine.look()
    run = finished(run)
    assert (run.status, run.error["step"], run.error["class"]) == ("failed", "a", "permanent")


def test_a_deliverable_of_each_round_is_a_version(begin, engine, members, finished):
    run = begin(
        """
  a:
    agent: echo
    with: {value: "${{ round }}"}
    deliverable: {name: report, title: "Report ${{ round }}", content: "${{ output.value }}"}
  check: {needs: [a], approval: {title: t, retry: [a]}}
"""
    )
    engine.look()
    decide(run, members.approver, "retry", note="again")
    engine.look()
    until(lambda: pending(run).context["round"] == 2)
    decide(run, members.approver)
    engine.look()
    run = finished(run)
    assert list(Deliverable.objects.order_by("version").values_list("version", "title", "content")) == [
        (1, "Report 1", "1"),
        (2, "Report 2", "2"),
    ]
    assert types(run).count("deliverable.created") == 2
