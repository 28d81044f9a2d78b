"""Agents as pages: found, read, compared, written by builders, and tried as a run of one step."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import specs
from agents.models import Agent
from orchestration import trials
from orchestration.engine import settling
from orchestration.engine.connection import rows
from orchestration.models import Definition, Run
from tests.factories import MemberFactory

SPEC = """\
name: greeter
kind: tool
title: Greeter
input:
  type: object
  required: [who]
  properties:
    who: {type: string, title: Whom to greet}
configuration:
  tool: echo
"""


@pytest.fixture
def viewer(client, members, agents):
    client.force_login(members.viewer.user)
    return client


@pytest.fixture
def builder(client, members, agents, policies):
    client.force_login(members.builder.user)
    return client


def read(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, path
    return answer.content.decode()


def send(client, path, status, **given):
    answer = client.post(path, given)
    assert answer.status_code == status, answer.content.decode()[:2000]
    return answer.content.decode()


def count_of(slug):
    return Agent.objects.get(slug=slug).versions.count()


# --- reading


def test_the_list_tells_what_each_may_reach_and_where_it_is_used(viewer, begin, settings):
    settings.OPENAI_API_KEY = ""
    run = begin("name: reports\nsteps:\n  s: {agent: echo}\n")
    rows("update orchestration_step set status = 'failed', started_at = now() where run_id = %s", [run.pk])
    page = read(viewer, "/agents/")
    for slug in ("echo", "summarizer", "supabase-agent", "finance-manager"):
        assert f'class="row" href="/agents/{slug}/"' in page
    assert "OPENAI_API_KEY is not set" in page
    assert 'href="/definitions/reports/"' in page
    assert "1 call, <span class" in page
    assert "1 failed" in page


def test_an_empty_list_says_what_an_agent_is(client, members):
    client.force_login(members.viewer.user)
    assert "There are no agents yet" in read(client, "/agents/")


@pytest.mark.parametrize(
    ("slug", "words"),
    [
        ("summarizer", ["the model provider", "Text or figures", "You write short reports"]),
        ("supabase-agent", ["kpi_by_month", "SUPABASE_DB_URL", "select measure.kpi", "Month"]),
        ("finance-manager", ["kpi-tracking"]),
        ("echo", ["tool echo", "Seconds to wait"]),
    ],
)
def test_an_agent_is_told_in_words(viewer, slug, words):
    page = read(viewer, f"/agents/{slug}/")
    for word in words:
        assert word in page
    assert f"/agents/{slug}/try/" not in page
    assert f"/agents/{slug}/edit/" not in page


def test_secrets_are_named_and_never_shown(viewer, settings):
    settings.OPENAI_API_KEY = "sk-very-secret"
    settings.AGENT_DATABASES = {"supabase": "postgres://user:hush@db.example/kpi"}
    for path in ("/agents/", "/agents/summarizer/", "/agents/supabase-agent/"):
        page = read(viewer, path)
        assert "sk-very-secret" not in page
        assert "hush" not in page
    assert "<code>SUPABASE_DB_URL</code> is set" in page


def test_old_versions_stay_and_two_are_compared(viewer, save_agent):
    save_agent(**specs.read(SPEC))
    save_agent(**specs.read(SPEC.replace("Whom to greet", "Whom")))
    assert "Whom to greet" in read(viewer, "/agents/greeter/1/")
    assert "Restore this version" not in read(viewer, "/agents/greeter/1/")
    page = read(viewer, "/agents/greeter/?from=1&to=2")
    assert "1 line added, 1 removed" in page
    read(viewer, "/agents/greeter/3/", 404)


def test_another_organization_finds_none_of_it(client, agents):
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert "summarizer" not in read(client, "/agents/")
    for path in ("", "1/", "edit/", "try/"):
        read(client, f"/agents/summarizer/{path}", 404)


def test_many_cost_as_many_queries_as_few(viewer, save_agent, begin):
    counts = []
    for count in (2, 20):
        for number in range(count):
            save_agent(name=f"a-{count}-{number}", kind="tool", configuration={"tool": "echo"})
            save_agent(name="greeter", kind="tool", title=f"{count} {number}", configuration={"tool": "echo"},
                       input={"title": f"{count} {number}"})  # fmt: skip
            begin(f"  s: {{agent: a-{count}-{number}}}\n  t: {{agent: greeter}}\n")
        per_page = []
        for path in ("/agents/", "/agents/greeter/?from=1&to=2"):
            with CaptureQueriesContext(connection) as seen:
                read(viewer, path)
            per_page.append(len(seen))
        counts.append(per_page)
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 15


# --- writing


def test_every_shipped_spec_comes_back_from_the_editor_as_it_is(builder, agents):
    for slug in agents:
        page = read(builder, f"/agents/{slug}/edit/")
        text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[1]
        for sign, entity in (("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;"), ("&", "&amp;")):
            text = text.replace(entity, sign)
        send(builder, f"/agents/{slug}/edit/", 302, text=text.replace("\n", "\r\n"), base="1", do="save")
        assert "acts just like this already" in read(builder, f"/agents/{slug}/")
        assert count_of(slug) == 1


def test_the_text_to_begin_with_can_be_saved(builder):
    page = read(builder, "/agents/new/")
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[1]
    send(builder, "/agents/new/", 302, text=text, base="0", do="save")
    assert count_of("my-agent") == 1


def test_findings_name_their_lines_and_nothing_typed_is_lost(builder):
    wrong = SPEC.replace("tool: echo", "tool: ecko").replace("title: Greeter", "titel: Greeter")
    page = send(builder, "/agents/new/", 400, text=wrong, base="0", do="save")
    assert 'data-line="3" data-column="1"' in page
    assert "Did you mean title?" in page
    assert 'data-line="10"' in page
    assert "titel: Greeter" in page
    assert not Agent.objects.filter(slug="greeter").exists()
    found = builder.post("/agents/new/check/", {"text": "name: [\n"}).json()["findings"]
    assert [(each["line"], each["rule"]) for each in found] == [(2, "syntax")]
    assert builder.post("/agents/new/check/", {"text": SPEC}).json()["findings"] == []


@pytest.mark.parametrize("text", ["", "- 1", "name: 1", "a: &x [*x]", "\t{", "kind: nothing", "x" * 200_001, "1: 2"])
def test_whatever_is_typed_comes_back_with_a_finding(builder, text):
    assert "data-line=" in send(builder, "/agents/new/", 400, text=text, base="0", do="save")


def test_a_newer_version_is_not_saved_over_unasked(builder, save_agent):
    save_agent(**specs.read(SPEC))
    save_agent(**specs.read(SPEC.replace("Whom to greet", "Their words")))
    mine = SPEC.replace("Whom to greet", "My words")
    assert "Whom to greet" in read(builder, "/agents/greeter/edit/?version=1")
    page = send(builder, "/agents/greeter/edit/", 409, text=mine, base="1", do="save")
    assert "Version 2 was saved meanwhile" in page
    assert "Their words" in page
    assert count_of("greeter") == 2
    send(builder, "/agents/greeter/edit/", 302, text=mine, base="1", agreed="greeter:2")
    assert count_of("greeter") == 3


def test_a_kind_is_for_life(builder, save_agent):
    save_agent(**specs.read(SPEC))
    changed = "name: greeter\nkind: context\nconfiguration: {instructions: Hello}\n"
    page = send(builder, "/agents/greeter/edit/", 400, text=changed, base="1", do="save")
    assert "which cannot change" in page
    assert count_of("greeter") == 1


def test_only_builders_write(client, members, agents):
    for role in ("viewer", "operator", "approver"):
        client.force_login(getattr(members, role).user)
        for path in ("/agents/new/", "/agents/echo/edit/"):
            assert client.get(path).status_code == 403
            assert client.post(path, {"text": SPEC, "do": "save"}).status_code == 403
        assert client.post("/agents/new/check/", {"text": SPEC}).status_code == 403
    assert not Agent.objects.filter(slug="greeter").exists()


# --- trying


def settled(run, becomes, **outcome):
    """As a worker records the trial's one call."""
    claimed = "update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s and key = 1"
    rows(claimed, [run.pk])
    settling.settle((run.pk, 1, 1), "running", settling.Outcome(becomes, **outcome))


def test_to_try_is_to_start_a_run_of_one_step(builder, save_agent, members):
    save_agent(**specs.read(SPEC))
    assert "Whom to greet" in read(builder, "/agents/greeter/try/")
    answer = builder.post("/agents/greeter/try/", {"who": "Ada", "once": "1"})
    run = Run.objects.get()
    assert answer.headers["Location"] == f"/agents/greeter/try/?run={run.public_id}#result"
    assert (run.input, run.started_by) == ({"who": "Ada"}, members.builder)
    assert run.steps.get(name=trials.STEP).agent_version_id == Agent.objects.get(slug="greeter").current_version_id
    builder.post("/agents/greeter/try/", {"who": "Ada", "once": "1"})
    assert Run.objects.count() == 1
    settled(run, "completed", output={"value": "Ada"})
    said = "select engine_log_v1(array[%s]::bigint[], array[1], array[1], array[0::float8], array['info'], array[%s])"
    rows(said, [run.pk, "greeted"])
    page = read(builder, answer.headers["Location"].partition("#")[0])
    assert "<bdi>greeted</bdi>" in page
    assert "\nAda</textarea>" in page
    assert "Completed" in page
    part = read(builder, f"/agents/greeter/try/{run.public_id}/part/")
    assert part.count("<hx-partial") == 3
    assert "<html" not in part
    read(builder, f"/agents/echo/try/{run.public_id}/part/", 404)


def test_a_trial_that_failed_says_why(builder):
    builder.post("/agents/echo/try/", {"once": "1"})
    run = Run.objects.get()
    settled(run, "failed", fields={"error": {"class": "permanent", "message": "It <b>broke</b>."}})
    page = read(builder, f"/agents/echo/try/?run={run.public_id}")
    assert "<bdi>It &lt;b&gt;broke&lt;/b&gt;.</bdi>" in page


def test_one_of_several_operations_is_chosen(builder):
    page = read(builder, "/agents/supabase-agent/try/?operation=kpi_series")
    assert "How many months back" in page
    given = {"operation": "kpi_by_month", "month": "2026-10", "once": "1"}
    send(builder, "/agents/supabase-agent/try/", 302, **given)
    assert Run.objects.get().input == {"operation": "kpi_by_month", "month": "2026-10"}
    send(builder, "/agents/supabase-agent/try/", 302, operation="kpi_measures", once="2")
    assert Run.objects.order_by("pk").last().input == {"operation": "kpi_measures"}


def test_wrong_input_starts_nothing_and_says_where(builder):
    given = {"operation": "kpi_by_month", "month": "October", "once": "1"}
    page = send(builder, "/agents/supabase-agent/try/", 400, **given)
    assert 'value="October"' in page
    assert 'class="error"' in page
    assert not Run.objects.exists()


def test_a_call_that_cannot_be_taken_back_is_asked_about(builder, save_agent):
    save_agent(**specs.read(SPEC), repeatable=False)
    page = send(builder, "/agents/greeter/try/", 400, who="Ada", once="1")
    assert "cannot be taken back" in page
    assert "\nAda</textarea>" in page
    assert not Run.objects.exists()
    send(builder, "/agents/greeter/try/", 302, who="Ada", once="1", agreed="yes")
    assert Run.objects.count() == 1


def test_viewers_and_approvers_try_nothing(client, members, agents):
    for role in ("viewer", "approver"):
        client.force_login(getattr(members, role).user)
        assert client.get("/agents/echo/try/").status_code == 403
        assert client.post("/agents/echo/try/", {"once": "1"}).status_code == 403
    assert not Run.objects.exists()


def test_what_was_made_to_try_is_not_among_the_definitions(builder):
    builder.post("/agents/echo/try/", {"once": "1"})
    assert Definition.objects.get().slug == "try--echo"
    assert "try--echo" not in read(builder, "/definitions/")
    assert "Made by the page of an agent" in read(builder, "/definitions/try--echo/")
    assert "try--echo" not in builder.get("/api/v1/definitions/").content.decode()
