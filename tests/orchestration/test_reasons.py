"""Why a run is not moving, as plain data: for the API, for commands, for a parent of whom a child waits."""

import json
import re
from datetime import datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from orchestration.engine.connection import rows
from orchestration.models import Run
from tests.factories import OrganizationFactory
from tests.orchestration.run_pages.looks import CHAIN, claim, end, fail, panel_of, put_question, text_of

ONE = "  months: {agent: echo}\n"
MANY = "".join(f"  step_{n}: {{agent: echo}}\n" for n in range(30))


def told(run):
    return [(reason.kind, reason.sentence) for reason in Run.objects.get(pk=run.pk).explain()]


def start_child(parent, name, child):
    """As an orchestrator's step does."""
    key = parent.steps.get(name=name).key
    end(parent, name, "waiting", fields={"waits_for": "child", "child": child.pk})
    Run.objects.filter(pk=child.pk).update(parent_run_id=parent.pk, parent_key=key)


@pytest.fixture
def family(begin):
    """(grandparent, parent, child, the child's question)."""
    oldest, parent, child = begin(ONE), begin(ONE), begin(CHAIN)
    start_child(oldest, "months", parent)
    start_child(parent, "months", child)
    end(child, "figures")
    return oldest, parent, child, put_question(child, "check", title="Figures?")


def test_all_that_holds_a_run_is_told_the_most_urgent_first(begin):
    run = begin(CHAIN + "  late: {agent: echo}\n  other: {agent: echo}\n")
    end(run, "late", "waiting", fields={"waits_for": "retry", "wake": 600})
    end(run, "figures")
    put_question(run, "check", title="Figures?")
    claim(run, "other")
    (first, running), *others = told(run)
    assert (first, [kind for kind, _ in others]) == ("running", ["approval", "retry"])
    assert re.fullmatch(r"Running other for \d+ s\.", running)


def test_of_many_alike_one_is_told_and_how_many_more_there_are(begin, django_assert_max_num_queries):
    run = begin(MANY)
    for n in range(25):
        claim(run, f"step_{n}", 60 - n)
    with django_assert_max_num_queries(8):
        assert [kind for kind, _ in told(run)] == ["running", "ready"]
    (_, running), _ = told(run)
    assert re.fullmatch(r"Running step_0 for (1 min|5\d s|1 min \d s) \(and 24 more\)\.", running)


def test_a_childs_question_is_told_of_all_above_it_with_where_it_is_answered(family):
    oldest, parent, child, question = family
    for run in (oldest, parent):
        gate, waits = run.explain()
        assert (gate.kind, gate.step, gate.url) == ("approval", "months", f"/approvals/{question.public_id}/")
        slug = child.definition_version.definition.slug
        asked = r"Waiting \d+ s for an approver \(finance\) to approve “Figures\?”"
        wanted = rf"{asked}, for the run of {slug} that months started\."
        assert re.fullmatch(wanted, gate.sentence)
        assert (waits.kind, waits.step) == ("child", "months")


def test_a_childs_question_is_answered_from_its_parents_page(client, members, family):
    oldest, _, _, question = family
    client.force_login(members.approver.user)
    page = text_of(client, f"/runs/{oldest.public_id}/?step=months")
    address = f'href="/approvals/{question.public_id}/"'
    assert f'class="button primary" {address}' in page
    assert address in panel_of(page)
    question.decide(by=members.approver, choice="continue", digest=question.digest)
    assert [kind for kind, _ in told(oldest)] == ["answer", "child"]


def test_a_map_says_how_many_of_its_items_are_open(begin):
    run = begin(ONE)
    end(run, "months", "waiting", fields={"waits_for": "child"})
    rows("update orchestration_step set item_count = 3, first_item = 2 where run_id = %s", [run.pk])
    rows(
        "insert into orchestration_step (run_id, key, position, name, index, kind, queue, status, open_needs,"
        " dependants, reads, tolerant, repeatable, head, ended_at)"
        " select s.run_id, i.key, 1, s.name, i.key - 2, s.kind, s.queue, i.status, 0, '{1}', '{}', true, true, 1,"
        " case i.status when 'completed' then now() end"
        " from orchestration_step s cross join (values (2, 'completed'), (3, 'blocked'), (4, 'blocked')) i(key, status)"
        " where s.run_id = %s",
        [run.pk],
    )
    ((kind, words),) = told(run)
    assert kind == "items"
    assert re.fullmatch(r"months waits for 2 of its 3 items, for \d+ s\.", words)


def test_a_run_that_is_late_says_so_behind_what_holds_it(operator, client, members, begin):
    run = begin(f"name: promised\nexpect: {{within: 1h}}\nsteps:\n{CHAIN}")
    end(run, "figures")
    put_question(run, "check", title="Figures?")
    page = f"/runs/{run.public_id}/"
    client.force_login(members.viewer.user)
    found = operator.get(f"/api/v1{page}").json()
    assert (datetime.fromisoformat(found["expect_at"]), found["overdue_at"]) == (run.expect_at, None)
    assert "promised to end" in text_of(client, page)
    assert ">Late<" not in text_of(client, page) + text_of(client, "/runs/")
    rows("update orchestration_run set expect_at = now() - interval '2 h', overdue_at = now() - interval '1 h'")
    (asks, _), (kind, words) = told(run)
    assert (asks, kind) == ("approval", "overdue")
    assert words == "Its definition promised that it would have ended 2 h ago."
    assert operator.get(f"/api/v1{page}").json()["overdue_at"] is not None
    assert ">Late<" in text_of(client, page)
    assert ">Late<" in text_of(client, "/runs/")


def test_another_organizations_question_is_never_told(family):
    oldest, _, _, question = family
    type(question).objects.filter(pk=question.pk).update(organization=OrganizationFactory())
    assert [kind for kind, _ in told(oldest)] == ["child"]


def test_the_api_tells_why(operator, begin):
    run = begin(CHAIN)
    error = {"class": "temporary", "message": "busy"}
    end(run, "figures", "waiting", fields={"waits_for": "retry", "wake": 3600, "error": error})
    (why,) = operator.get(f"/api/v1/runs/{run.public_id}/").json()["why"]
    sentence, until = why.pop("sentence"), why.pop("until")
    assert why == {"kind": "retry", "step": "figures", "since": None, "url": None}
    assert re.fullmatch(r"Retrying figures: attempt 2 of 4 in (59 min \d+ s|1 h), after “busy”\.", sentence)
    assert until == operator.get(f"/api/v1/runs/{run.public_id}/").json()["steps"][0]["wakes_at"]


def test_a_command_tells_why(begin):
    run = begin(CHAIN)
    fail(run, "figures")
    words, data = StringIO(), StringIO()
    call_command("runs", "explain", run.public_id, stdout=words)
    call_command("runs", "explain", run.public_id, "--json", stdout=data)
    sentence = "Failed in figures: “no such account”. Correct what it was given, or the definition, and run it again."
    assert words.getvalue() == sentence + "\n"
    (why,) = json.loads(data.getvalue())
    assert (why["kind"], why["sentence"], why["step"]) == ("failed", sentence, "figures")
    with pytest.raises(CommandError, match="No run is called 'run_0'"):
        call_command("runs", "explain", "run_0")


def test_a_paused_run_says_so_and_what_goes_on(begin):
    run = begin(CHAIN + "  other: {agent: echo}\n")
    end(run, "figures")
    put_question(run, "check")
    rows("update orchestration_run set status = 'paused' where id = %s", [run.pk])
    assert [kind for kind, _ in told(run)] == ["paused", "approval"]
    data = '{"by": "Ada", "reason": "Month end."}'
    rows(
        "insert into orchestration_event (run_id, seq, type, data) select id, seq + 1, 'run.paused', %s from"
        " orchestration_run where id = %s",
        [data, run.pk],
    )
    (_, words), _ = told(run)
    wanted = "by Ada because of “Month end”: nothing starts until someone resumes it; calls under way may end."
    assert words.removeprefix("Paused for ").partition(" s ")[2] == wanted
