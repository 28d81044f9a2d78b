"""The rows that figures are made with."""

from collections import Counter

from accounts.models import AuditEntry
from approvals.models import Decision, Request
from orchestration.models import Deliverable, Event, LogLine, Run
from simulators import sample
from tests.harness import assert_sound


def test_rows_of_the_sample_are_as_sound_as_those_of_real_runs(committed, organization, members):
    made = sample.make(organization, runs=60, requests=20, log_lines=500)
    copies = Run.objects.exclude(public_id=made.large_run)
    for run in copies:
        assert_sound(run.pk)
    found = Counter(copies.values_list("status", flat=True))
    assert found["waiting"] == 20 + len(sample.NAMES)
    assert sum(found.values()) == 60 + len(sample.NAMES) * (1 + len(sample.WEIGHTS))
    assert Request.objects.pending().count() == found["waiting"]
    assert copies.order_by("-id").values_list("created_at", flat=True)[0] is not None
    assert LogLine.objects.filter(run_id=Run.objects.get(public_id=made.large_run).pk).count() == 500
    for decision in Decision.objects.select_related("request"):
        assert Run.objects.filter(public_id=decision.request.context["run"], pk=decision.request.context["run_id"])
        assert AuditEntry.objects.filter(target=decision.request.public_id).exists()
    assert Deliverable.objects.count() == found["completed"]
    named = {data["request"] for data in Event.objects.values_list("data", flat=True) if data and "request" in data}
    assert named <= set(Request.objects.values_list("public_id", flat=True))


def test_a_question_of_the_sample_can_be_answered(engine_later, organization, members, finished):
    sample.make(organization, runs=3, requests=3)
    request = Request.objects.pending().first()
    request.decide(by=members.approver, choice="continue", digest=request.digest)
    engine_later()
    run = finished(Run.objects.get(public_id=request.context["run"]))
    assert run.status == "completed"
