"""Each lever at each door: a page, the API and a command pull it, and refuse it with the same words."""

import html
import io
import json
from unittest.mock import ANY

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import AuditEntry
from orchestration.engine import pins
from orchestration.engine.levers import keeping, pausing
from orchestration.levers import LEVERS
from orchestration.models import Budget, DefinitionVersion, Run
from tests.harness import claim, end, make_worker
from tests.orchestration.engine.test_maps import spread
from tests.orchestration.run_pages.looks import put_question
from tests.orchestration.test_levers import BRANCHES, CHAIN, GIVEN, REFUSALS, by_name, frozen, work


def by_api(run, lever, step, given, api, site, by):
    place = f"steps/{step.name}/" if step else ""
    address = f"/api/v1/runs/{run.public_id}/{place}{lever.name}/"
    answer = api.post(address, given, format="json")
    if answer.status_code in (200, 201, 204):
        return True, ""
    said = answer.json()
    return False, " ".join([said["detail"], *(error["message"] for error in said.get("errors", ()))])


def by_page(run, lever, step, given, api, site, by):
    place = f"steps/{step.name}/" if step else ""
    typed = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    answer = site.post(f"/runs/{run.public_id}/{place}{lever.name}/", typed)
    return answer.status_code == 302, html.unescape(answer.content.decode())


def by_command(run, lever, step, given, api, site, by):
    words = [f"--{name.replace('_', '-')}={v if isinstance(v, str) else json.dumps(v)}" for name, v in given.items()]
    words += ["--step", step.name] if step else []
    try:
        call_command("runs", lever.name, run.public_id, "--as", by.name, *words, stdout=io.StringIO())
    except CommandError as exc:
        return False, str(exc)
    return True, ""


def uncertain(run):
    worker = make_worker()
    end(worker, claim(worker)[0], "uncertain")


def ended(run):
    work(make_worker(), failing={"a"})


def movable(run):
    """Paused, and a newer version is there."""
    pausing.pause(run, by=None, reason="x")
    old = run.definition_version
    words = {name: getattr(old, name) for name in ("definition", "text", "plan", "layout")}
    new = DefinitionVersion.objects.create(number=old.number + 1, digest="another", **words)
    old.definition.current_version = new
    old.definition.save(update_fields=["current_version"])


# What brings a run to where the lever can be pulled, unless a new one is.
READY = {
    "resolve": uncertain,
    "retry": ended,
    "resume": lambda run: pausing.pause(run, by=None, reason="x"),
    "budget": lambda run: (
        Budget.objects.create(run_id=run.pk, runs=5, policy="default"),
        Run.objects.filter(pk=run.pk).update(budgets=[run.pk]),
    ),
    "unpin": lambda run: pins.pin(run, by=None, reason="x"),
    "due": lambda run: put_question(run, "a"),
    "concurrency": lambda run: spread(run, make_worker(), 3, window=1),
    "reviewers": lambda run: put_question(run, "a"),
    "move": movable,
    "archive": ended,
    "restore": lambda run: (ended(run), keeping.archive(run, by=None, reason="x")),
    "delete": ended,
}


@pytest.mark.parametrize("door", [by_api, by_page, by_command], ids=lambda door: door.__name__)
@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: f"{lever.of}-{lever.name}")
def test_each_door_pulls_each_lever_and_refuses_with_the_same_words(begin, members, client, client_of, lever, door):
    run = begin("  a: {agent: echo, repeatable: false}\n  b: {agent: echo, needs: [a]}\n")
    READY.get(lever.name, lambda run: None)(run)
    run.refresh_from_db()
    step = by_name(run)["a"] if lever.of == "step" else None
    given = GIVEN.get(lever.name, {}) | {name: seen(run) for name, seen in lever.seen.items()}
    by = getattr(members, lever.role)
    api, site = client_of(by), client
    site.force_login(by.user)
    before = frozen(run)
    assert door(run, lever, step, {**given, "reason": " "}, api, site, by) == (False, ANY)
    assert frozen(run) == before
    assert door(run, lever, step, {**given, "reason": "so"}, api, site, by) == (True, ANY)
    assert AuditEntry.objects.filter(data__reason="so", actor=by).count() == 1
    if not Run.objects.filter(pk=run.pk).exists():
        return
    run.refresh_from_db()
    step = by_name(run)["a"] if step else None
    if lever.refusal(step or run) is not None:
        before = frozen(run)
        with pytest.raises(REFUSALS) as words:
            lever.pull(run, step, {**given, "reason": "so"}, by=by)
        done, said = door(run, lever, step, {**given, "reason": "so"}, api, site, by)
        wanted = [error["message"] for error in getattr(words.value, "errors", [])] or [str(words.value)]
        assert (done, all(each in said for each in wanted), frozen(run) == before) == (False, True, True)


def test_what_a_lever_would_do_is_told_first(begin, members, operator, client):
    run = begin(BRANCHES)
    work(make_worker(), failing={"a"})
    run.refresh_from_db()
    looked = operator.get(f"/api/v1/runs/{run.public_id}/retry/").json()
    assert (looked["refusal"], looked["preview"]) == (None, ["Tried again: a.", "And what was left for them: b, c."])
    assert looked["schema"]["required"] == ["reason"]
    assert operator.get(f"/api/v1/runs/{run.public_id}/pause/").json()["refusal"].startswith("The run is failed; ")
    client.force_login(members.operator.user)
    page = client.get(f"/runs/{run.public_id}/retry/").content.decode()
    assert "Tried again: a." in page
    assert "The run is failed; " in client.get(f"/runs/{run.public_id}/pause/").content.decode()
    told = io.StringIO()
    call_command("runs", "retry", run.public_id, "--as", members.operator.name, "--reason=so", "--dry-run", stdout=told)
    assert "Tried again: a." in told.getvalue()
    assert Run.objects.get(pk=run.pk).status == "failed"


def test_a_time_is_asked_for_in_the_readers_zone(begin, members, client):
    run = begin(CHAIN)
    client.force_login(members.operator.user)
    client.cookies["zone"] = "Asia/Tokyo"
    client.post(f"/runs/{run.public_id}/deadline/", {"deadline_at": "2040-01-01T09:00", "reason": "so"})
    run.refresh_from_db()
    assert run.deadline_at.isoformat() == "2040-01-01T00:00:00+00:00"
    client.post(f"/runs/{run.public_id}/deadline/", {"deadline_at": "", "reason": "so"})
    run.refresh_from_db()
    assert run.deadline_at is None


def test_a_dialog_is_told_where_to_go_and_gets_its_refusals(begin, members, client):
    run = begin(CHAIN)
    client.force_login(members.operator.user)

    def post(**given):
        return client.post(f"/runs/{run.public_id}/steps/a/skip/", given, headers={"HX-Request": "true"})

    refused = post(reason="")
    assert (refused.status_code, "<html" in refused.content.decode()) == (400, False)
    done = post(reason="so")
    assert (done.status_code, done.headers["X-Goes-To"]) == (204, f"/runs/{run.public_id}/?step=a")
