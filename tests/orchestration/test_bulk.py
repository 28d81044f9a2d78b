"""One lever at many runs: looked at, done once to each, told run by run; by the API, the page and a command."""

import io
import re

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEntry
from orchestration.engine import bulk
from orchestration.engine.levers import by_hand, pausing
from orchestration.levers import steps_of
from orchestration.models import Bulk, BulkItem, Run, Step
from orchestration.views import runs
from tests.factories import MemberFactory
from tests.harness import assert_sound

ONE = "  a: {agent: echo}\n"


@pytest.fixture
def three(begin):
    """Two that can be paused, and one that is."""
    runs = [begin(ONE) for _ in range(3)]
    pausing.pause(runs[2], by=None, reason="before")
    return runs


def statuses(runs):
    return [Run.objects.get(pk=run.pk).status for run in runs]


def ask(client, **words):
    return client.post(reverse("runs-actions"), {"action": "pause", "filter": {}, **words}, format="json")


def told(client, public_id):
    return client.get(reverse("runs-action", args=[public_id])).json()


def test_it_is_looked_at_done_and_told_run_by_run(operator, three):
    looked = ask(operator).json()
    assert (looked["total"], looked["able"]) == (3, 2)
    (refused,) = looked["refused"]
    assert (refused["run"], refused["words"].startswith("The run is paused; ")) == (three[2].public_id, True)
    assert statuses(three) == ["running", "running", "paused"]
    begun = ask(operator, digest=looked["digest"], reason="month end")
    assert (begun.status_code, begun.json()["done"], begun.json()["total"]) == (202, 1, 3)
    assert bulk.work() == 2
    assert statuses(three) == ["paused"] * 3
    found = told(operator, begun.json()["id"])
    assert (found["done"], found["ended_at"] is not None) == (3, True)
    assert [each["status"] for each in found["results"]] == ["done", "done", "refused"]
    assert AuditEntry.objects.filter(action="run.pause", data__bulk=found["id"], data__reason="month end").count() == 2
    assert AuditEntry.objects.get(action="runs.act").target == found["id"]
    assert bulk.work() == 0


def test_a_look_that_went_stale_is_refused_and_nothing_is_done(operator, three, begin):
    digest = ask(operator).json()["digest"]
    pausing.pause(three[0], by=None, reason="meanwhile")
    refused = ask(operator, digest=digest, reason="so")
    assert (refused.status_code, "look at it again" in refused.json()["detail"]) == (409, True)
    digest = ask(operator).json()["digest"]
    begin(ONE)
    assert ask(operator, digest=digest, reason="so").status_code == 409
    assert ask(operator, digest="x", reason="so").status_code == 409
    assert not Bulk.objects.exists()


def test_what_cannot_be_understood_chooses_nothing(operator, viewer, client_of, three, settings, members):
    for words in (
        {"filter": {"status": "nonsense"}},
        {"ids": ["run_none"], "filter": None},
        {"ids": [three[0].public_id]},
        {"action": "delete"},
        {"action": "skip"},
        {"given": 1},
        {"given": {"no": 1}, "digest": "x", "reason": "so"},
        {"digest": "x", "reason": " "},
    ):
        answer = ask(operator, **words)
        assert answer.status_code == 400, words
        assert answer.json()["errors"], words
    settings.BULK_MOST_RUNS = 2
    refused = ask(operator)
    assert (refused.status_code, "More than 2 runs" in refused.json()["detail"]) == (409, True)
    assert ask(viewer).status_code == 403
    assert ask(client_of(members.operator, "read")).status_code == 403
    stranger = client_of(MemberFactory(roles=["operator"]))
    assert ask(stranger).json()["total"] == 0
    assert not Bulk.objects.exists()


def begun(operator, runs, **words):
    chosen = {"ids": [run.public_id for run in runs]}
    answer = operator.post(reverse("runs-actions"), {"action": "cancel", **chosen, **words}, format="json").json()
    words |= {"digest": answer["digest"], "reason": "so"}
    return operator.post(reverse("runs-actions"), {"action": "cancel", **chosen, **words}, format="json").json()["id"]


def test_who_may_no_longer_do_it_does_nothing_more(operator, three, members):
    public_id = begun(operator, three)
    members.operator.roles = ["viewer"]
    members.operator.save()
    bulk.work()
    assert {each["status"] for each in told(operator, public_id)["results"]} == {"refused"}
    assert "canceled" not in statuses(three)


def test_it_is_done_on_a_page(client, members, three):
    client.force_login(members.operator.user)
    listed = client.get("/runs/?status=open").content.decode()
    assert "/runs/act/pause/?status=open" in listed
    page = client.get("/runs/act/pause/?status=open").content.decode()
    assert "It can be done to 2 of 3." in page
    digest = re.search(r'name="digest" value="(\w+)"', page)[1]
    assert client.post("/runs/act/pause/?status=open", {"digest": digest, "reason": ""}).status_code == 400
    stale = client.post("/runs/act/pause/?status=open", {"digest": "x", "reason": "so"})
    assert (stale.status_code, "look at it again" in stale.content.decode()) == (409, True)
    done = client.post("/runs/act/pause/?status=open", {"digest": digest, "reason": "so"})
    assert done.status_code == 302
    assert "1 of 3" in client.get(done["Location"]).content.decode()
    bulk.work()
    assert "3 of 3" in client.get(f"{done['Location']}part/").content.decode()
    assert statuses(three) == ["paused"] * 3
    assert client.get("/runs/act/pause/?status=nonsense").status_code == 400
    client.force_login(members.viewer.user)
    assert "/runs/act/" not in client.get("/runs/").content.decode()
    assert client.get("/runs/act/pause/").status_code == 403


def test_it_is_done_by_command(members, three):
    def command(*words):
        out = io.StringIO()
        call_command("runs", "pause", "--filter", "status=open", "--as", members.operator.name, *words, stdout=out)
        return out.getvalue()

    looked = command("--reason", "so")
    assert "It can be done to 2 of 3 runs." in looked
    assert statuses(three) == ["running", "running", "paused"]
    with pytest.raises(CommandError, match="look at it again"):
        command("--reason", "so", "--yes", "x")
    assert Bulk.objects.get(public_id=command("--reason", "so", "--yes", looked.split()[-1]).strip()).total == 3


def test_the_admin_leads_to_the_page_with_those_selected(client, members, three):
    members.admin.user.is_staff = True
    members.admin.user.save()
    client.force_login(members.admin.user)
    sent = {"action": "act_cancel", "_selected_action": [run.pk for run in three[:2]]}
    answer = client.post(reverse("admin:orchestration_run_changelist"), sent)
    page = client.get(answer["Location"]).content.decode()
    assert "It can be done to 2 of 2." in page


# --- steps, by their name

GATED = (
    "  a: {agent: echo, with: {value: 1}}\n  g: {needs: [a], approval: {title: t}}\n  b: {agent: echo, needs: [g]}\n"
)


@pytest.fixture
def mixed(begin):
    """Two whose step b can be ended by hand, one that has none, and one where it is over."""
    runs = [begin(GATED), begin(GATED), begin(ONE), begin(GATED)]
    skip_b(runs[3])
    return runs


def skip_b(run):
    by_hand.skip(run, run.steps.get(name="b"), by=None, reason="before")


def of_b(runs):
    return [list(Step.objects.filter(run_id=run.pk, name="b").values_list("status", "output")) for run in runs]


def test_a_step_of_each_of_many_runs_is_acted_on_by_its_name(operator, mixed):
    said = {"action": "step-output", "given": {"step": "b", "output": {"value": 7}}}
    looked = ask(operator, **said).json()
    assert (looked["total"], looked["able"]) == (4, 2)
    why = {each["run"]: each["words"] for each in looked["refused"]}
    assert why[mixed[2].public_id] == "The run has no step b."
    assert why[mixed[3].public_id].startswith("Step b is skipped; ")
    other = {**said, "given": {"step": "b", "output": {"value": 8}}}
    assert ask(operator, **other, digest=looked["digest"], reason="so").status_code == 409
    begun = ask(operator, **said, digest=looked["digest"], reason="by hand").json()
    assert bulk.work() == 2
    assert of_b(mixed) == [[("completed", {"value": 7})]] * 2 + [[]] + [[("skipped", None)]]
    results = told(operator, begun["id"])["results"]
    assert [each["status"] for each in results] == ["done", "done", "refused", "refused"]
    audited = AuditEntry.objects.filter(action="step.output", data__bulk=begun["id"], data__step="b")
    assert set(audited.values_list("target", flat=True)) == {run.public_id for run in mixed[:2]}
    for run in mixed:
        assert_sound(run.pk)


def test_the_steps_of_many_runs_are_looked_at_together(operator, mixed, begin):
    said = {"action": "step-skip", "given": {"step": "b"}}

    def looked():
        with CaptureQueriesContext(connection) as asked:
            able = ask(operator, **said).json()["able"]
        return able, len(asked)

    looked()  # who asks is known from here on
    few = looked()
    for _ in range(10):
        begin(GATED)
    assert looked() == (few[0] + 10, few[1])


def test_what_does_not_fit_a_step_is_refused_run_by_run(operator, mixed, save):
    skip_b(mixed[0])
    said = {"action": "step-skip", "given": {"step": "b"}, "ids": [run.public_id for run in mixed[:2]], "filter": None}
    words = {name: value for name, value in said.items() if value is not None}
    client = operator
    looked = client.post(reverse("runs-actions"), words, format="json").json()
    assert looked["able"] == 1
    wrong = {"action": "step-output", "given": {"step": "b", "output": "no object"}, "ids": [mixed[1].public_id]}
    digest = client.post(reverse("runs-actions"), wrong, format="json").json()["digest"]
    begun = client.post(reverse("runs-actions"), {**wrong, "digest": digest, "reason": "so"}, format="json").json()
    bulk.work()
    (result,) = told(client, begun["id"])["results"]
    assert (result["status"], bool(result["words"])) == ("refused", True)
    for given in ({}, {"step": ""}, {"step": "b", "no": 1}):
        bad = {**words, "given": given, "digest": "x", "reason": "so"}
        assert client.post(reverse("runs-actions"), bad, format="json").status_code == 400, given


def test_each_of_many_runs_is_forked_once(operator, mixed):
    said = {"action": "step-fork", "given": {"step": "a"}, "reason": "so"}
    digest = ask(operator, **said).json()["digest"]
    begun = ask(operator, **said, digest=digest).json()
    bulk.work()
    assert Run.objects.filter(forked_run_id__in=[run.pk for run in mixed]).count() == 4
    BulkItem.objects.filter(bulk__public_id=begun["id"]).update(status="open")  # as if its worker had died over it
    Bulk.objects.update(ended_at=None)
    bulk.work()
    assert Run.objects.filter(forked_run_id__in=[run.pk for run in mixed]).count() == 4


def test_a_step_of_many_is_asked_for_on_a_page_before_it_is_looked_at(client, members, mixed):
    client.force_login(members.operator.user)
    address = "/runs/act/step-skip/?status=open"
    assert f'href="{address}"' in client.get("/runs/?status=open").content.decode()
    page = client.get(address).content.decode()
    assert ("See what it does" in page, "It can be done to" in page) == (True, False)
    empty = client.post(address, {"_look": "1", "step": ""})
    assert (empty.status_code, "It can be done to" in empty.content.decode()) == (400, False)
    page = client.post(address, {"_look": "1", "step": "b"}).content.decode()
    assert ("It can be done to 2 of 4." in page, "The run has no step b." in page) == (True, True)
    digest = re.search(r'name="digest" value="(\w+)"', page)[1]
    assert client.post(address, {"step": "b", "digest": digest, "reason": "so"}).status_code == 302
    bulk.work()
    assert [[status for status, _ in rows] for rows in of_b(mixed)] == [["skipped"], ["skipped"], [], ["skipped"]]


def test_a_step_of_many_is_named_by_command(members, mixed):
    def command(*words):
        out = io.StringIO()
        chosen = ("--filter", "status=open", "--as", members.operator.name, "--reason", "so")
        call_command("runs", *words, *chosen, stdout=out)
        return out.getvalue()

    looked = command("skip", "--step", "b")
    assert "It can be done to 2 of 4 runs." in looked
    command("skip", "--step", "b", "--yes", looked.split()[-1])
    bulk.work()
    assert [status for status, _ in of_b(mixed)[0]] == ["skipped"]
    with pytest.raises(CommandError, match="name it with --step"):
        command("skip")
    with pytest.raises(CommandError, match="leave --step out"):
        command("retry", "--step", "b")


def sent(runs, **words):
    return {"filter": "status=open", "run": [run.public_id for run in runs], **words}


def test_rows_that_are_ticked_go_to_the_page_that_shows_what_would_be_done(client, members, three):
    client.force_login(members.operator.user)
    page = client.get("/runs/?status=open").content.decode()
    for run in three:
        assert re.search(rf'<input type="checkbox" name="run" value="{run.public_id}" form="choose"', page)
    assert '<input type="hidden" name="filter" value="status=open">' in page
    gone = client.get("/runs/act/", sent(three[1:], do="pause"))
    ids = ",".join(run.public_id for run in three[1:])
    assert gone["Location"] == f"/runs/act/pause/?status=open&ids={ids}"
    page = client.get(gone["Location"]).content.decode()
    assert ("It can be done to 1 of 2." in page, 'href="/runs/?status=open"' in page) == (True, True)
    digest = re.search(r'name="digest" value="(\w+)"', page)[1]
    done = client.post(gone["Location"], {"digest": digest, "reason": "so"})
    bulk.work()
    assert statuses(three) == ["running", "paused", "paused"]
    assert "2 of 2" in client.get(done["Location"]).content.decode()
    every = client.get("/runs/act/", sent(three[:1], do="cancel", all="1", filter="status=open&label.a=b"))
    assert every["Location"] == "/runs/act/cancel/?status=open&label.a=b"


def test_ticking_nothing_or_what_is_not_there_does_nothing(client, members, three):
    client.force_login(members.operator.user)
    for words in ({"do": "pause"}, {"do": ""}, {"run": three[0].public_id}):
        empty = client.get("/runs/act/", {"filter": "status=open", **words}, follow=True)
        assert empty.redirect_chain == [("/runs/?status=open", 302)]
        assert "Tick runs, and say what is to be done to them." in empty.content.decode()
    for lever in ("delete", "no"):
        assert client.get("/runs/act/", sent(three, do=lever)).status_code == 404
    strange = client.get("/runs/act/", {"do": "pause", "run": ["run_none"], "filter": ""}, follow=True)
    assert (strange.status_code, "There is no run run_none." in strange.content.decode()) == (400, True)
    client.force_login(members.viewer.user)
    assert client.get("/runs/act/", sent(three, do="pause")).status_code == 403
    assert 'name="run"' not in client.get("/runs/").content.decode()
    assert not Bulk.objects.exists()


def test_all_that_match_are_offered_where_a_page_shows_some_of_them(client, members, three, monkeypatch, settings):
    client.force_login(members.operator.user)
    assert 'name="all"' not in client.get("/runs/").content.decode()
    monkeypatch.setattr(runs, "SHOWN", 2)
    assert "All 3 that match" in client.get("/runs/").content.decode()
    assert "All 3 that match" in client.get(f"/runs/?older={three[1].public_id}").content.decode()
    settings.BULK_MOST_RUNS = 2
    assert "All (more than 2) that match" in client.get("/runs/").content.decode()
    client.force_login(members.viewer.user)
    assert "that match" not in client.get("/runs/").content.decode()


def test_of_several_that_undo_one_step_the_one_whose_result_is_unknown_is_meant(begin):
    runs = [begin(ONE) for _ in range(2)]
    for run, statuses_of in zip(
        runs, (["completed", "uncertain", "completed"], ["completed", "completed"]), strict=True
    ):
        row = run.steps.get(name="a")
        row.name, row.kind, row.undoes = "a:undo", "undo", row.key
        for key, row.status in enumerate(statuses_of, start=100):
            row.key = key
            row.save(force_insert=True)
    assert {pk: row.key for pk, row in steps_of(runs, "a:undo").items()} == {runs[0].pk: 101, runs[1].pk: 101}
    assert {pk: row.key for pk, row in steps_of(runs, "a").items()} == {run.pk: 1 for run in runs}
