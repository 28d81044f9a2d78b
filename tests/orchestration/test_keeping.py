"""Runs and definitions are put away and brought back; a deletion says before what it takes with it."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.models import AuditEntry
from approvals.models import Request
from orchestration.doctor import examine
from orchestration.engine import schedules
from orchestration.engine.connection import rows
from orchestration.engine.levers import keeping, retrying
from orchestration.exceptions import Refused
from orchestration.models import Definition, Event, Run, Schedule, Step
from tests.harness import claim, end, make_worker, until

ONE = "name: one\nsteps: {a: {agent: echo}}\n"


def done(run, outcome="completed", **fields):
    worker = make_worker()
    for place in claim(worker, 9):
        end(worker, place, outcome, **fields)
    run.refresh_from_db()
    return run


def listed(client, name, **query):
    return [row.get("id") or row["slug"] for row in client.get(reverse(name), query).json()["results"]]


def test_an_archived_run_is_in_no_list_unless_it_is_asked_for(begin, operator, client, members):
    run = done(begin(ONE))
    url = reverse("run-archive", args=[run.public_id])
    assert operator.post(url, {"reason": "old"}, format="json").status_code == 200
    assert operator.post(url, {"reason": "old"}, format="json").status_code == 409
    assert (listed(operator, "runs"), listed(operator, "runs", archived=True)) == ([], [run.public_id])
    client.force_login(members.viewer.user)
    assert run.public_id not in client.get("/runs/").content.decode()
    assert run.public_id in client.get("/runs/?archived=1").content.decode()
    keeping.restore(run, by=members.operator, reason="wanted")
    assert listed(operator, "runs") == [run.public_id]
    assert list(AuditEntry.objects.filter(target=run.public_id).values_list("action", flat=True).order_by("pk")) == [
        "run.archive",
        "run.restore",
    ]


def test_what_goes_on_is_not_archived_and_what_is_archived_does_not_go_on(begin, members):
    run = begin(ONE)
    with pytest.raises(Refused, match="running; only what has ended can be archived"):
        keeping.archive(run, by=None, reason="x")
    done(run, "failed", error={"class": "permanent", "message": "no"})
    keeping.archive(run, by=None, reason="x")
    with pytest.raises(Refused, match="archived; restore it first"):
        retrying.retry(run, by=None, reason="x")


def test_an_archived_definition_starts_nothing(save, operator, client_of, members, organization):
    save(ONE)
    save("name: timed\nsteps: {a: {agent: echo}}\nschedule: [{cron: '0 8 * * *', zone: UTC}]\n")
    builder = client_of(members.builder)
    for slug in ("one", "timed"):
        url = reverse("definition-archive", args=[slug])
        assert operator.post(url, {"reason": "old"}, format="json").status_code == 403
        assert builder.post(url, {"reason": " "}, format="json").status_code == 400
        assert builder.post(url, {"reason": "old"}, format="json").status_code == 200
        assert builder.post(url, {"reason": "old"}, format="json").status_code == 409
    refused = operator.post(reverse("runs"), {"definition": "one", "input": {}}, format="json")
    assert (refused.status_code, refused.json()["detail"]) == (409, "one is archived; restore it to start runs of it.")
    schedule = Schedule.objects.get()
    with pytest.raises(Exception, match="archived"):
        schedules.run_now(schedule, by=None, reason="x")
    Schedule.objects.update(next_at="2026-01-01T08:00Z", last_at="2026-01-01T07:00Z")
    schedules.start_due()
    assert set(schedule.fires.values_list("why", flat=True)) >= {"The definition is archived."}
    assert not schedule.fires.filter(run_id__isnull=False).exists()
    assert Run.objects.count() == 0
    assert (listed(builder, "definitions"), listed(builder, "definitions", archived=True)) == ([], ["one", "timed"])
    builder.post(reverse("definition-restore", args=["one"]), {"reason": "wanted"}, format="json")
    assert operator.post(reverse("runs"), {"definition": "one", "input": {}}, format="json").status_code == 201


def test_a_step_that_runs_an_archived_definition_fails_in_words(engine, begin, save, finished):
    save(ONE)
    Definition.objects.get(slug="one").archive(by=None, reason="old")
    run = finished(begin("  s: {run: one}\n"))
    assert (run.status, run.error["message"]) == ("failed", "one is archived and starts nothing.")


def test_a_definition_is_archived_on_its_page_and_by_command(save, client, members, organization):
    save(ONE)
    client.force_login(members.builder.user)
    assert client.post("/definitions/one/archive/", {"reason": "old"}).status_code == 302
    page = client.get("/definitions/one/").content.decode()
    assert "starts nothing" in page
    assert "Start a run" not in page
    assert "/definitions/one/" not in client.get("/definitions/").content.decode()
    assert "/definitions/one/" in client.get("/definitions/?archived=1").content.decode()
    given = {"organization": organization.slug, "reason": "wanted", "stdout": StringIO()}
    call_command("definitions", "restore", "one", **given)
    with pytest.raises(CommandError, match="not archived"):
        call_command("definitions", "restore", "one", **given)
    assert Definition.objects.get(slug="one").archived_at is None


def test_a_deletion_says_before_what_it_takes_with_it_and_takes_that(
    engine, begin, save, finished, client_of, members, operator
):
    save("name: child\nsteps: {a: {agent: echo, deliverable: {name: d, title: t, content: c}}}\n")
    other = finished(begin(ONE))
    run = begin("  s: {run: child}\n  g: {needs: [s], approval: {title: t}}\n")
    request = until(lambda: Request.objects.pending().first())
    request.decide(by=members.approver, choice="continue", digest=request.digest)
    finished(run)
    admin = client_of(members.admin)
    child = Run.objects.get(parent_run_id=run.pk)
    shown = admin.get(reverse("run-deletion", args=[run.public_id])).json()
    assert shown["runs"] == [run.public_id, child.public_id]
    takes = {"runs": 2, "steps": 3, "deliverables": 1, "stream values": 0}
    assert {what: shown["takes"][what] for what in takes} == takes
    assert shown["keeps"] == {"questions with their answers": 1}

    def delete(client, target, **given):
        return client.post(reverse("run-delete", args=[target.public_id]), {"reason": "so", **given}, format="json")

    assert delete(operator, run, digest=shown["digest"]).status_code == 403
    assert delete(admin, run).status_code == 400
    assert "look at it again" in delete(admin, run, digest="0" * 64).json()["detail"]
    assert "goes with it" in delete(admin, child, digest=shown["digest"]).json()["detail"]
    Run.objects.filter(pk=child.pk).update(pinned_at="2026-01-01T00:00Z")
    assert "pinned" in delete(admin, run, digest=shown["digest"]).json()["detail"]
    Run.objects.filter(pk=child.pk).update(pinned_at=None)
    assert Run.objects.count() == 3
    assert delete(admin, run, digest=shown["digest"]).status_code == 204
    assert list(Run.objects.all()) == [other]
    assert not Step.objects.exclude(run=other).exists()
    assert not Event.objects.exclude(run=other).exists()
    assert Request.objects.get().status == "decided"
    assert AuditEntry.objects.get(action="run.delete").data["takes"] == shown["takes"]
    assert examine(settled=True) == []


def test_a_run_is_deleted_on_a_page_that_says_what_goes(begin, client, members):
    run = done(begin(ONE))
    client.force_login(members.admin.user)
    url = f"/runs/{run.public_id}/delete/"
    page = client.get(url).content.decode()
    assert "<bdi>Steps: 1.</bdi>" in page
    digest = keeping.deletion_of(run).digest
    assert digest in page
    rows("insert into orchestration_event (run_id, seq, type) values (%s, 99, 'step.late_result')", [run.pk])
    answer = client.post(url, {"reason": "so", "digest": digest})
    assert (answer.status_code, "look at it again" in answer.content.decode()) == (409, True)
    answer = client.post(url, {"reason": "so", "digest": keeping.deletion_of(run).digest})
    assert (answer.status_code, answer["Location"]) == (302, "/runs/")
    assert not Run.objects.exists()


def test_a_start_under_a_key_whose_run_was_deleted_begins_anew(begin, operator):
    begin(ONE)
    begun = operator.post(reverse("runs"), {"definition": "one", "input": {}}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    run = done(Run.objects.get(public_id=begun.json()["id"]))
    keeping.delete(run, by=None, reason="x", digest=keeping.deletion_of(run).digest)
    again = operator.post(reverse("runs"), {"definition": "one", "input": {}}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert (again.status_code, again.json()["id"] != run.public_id) == (201, True)
    assert Run.objects.count() == 2
