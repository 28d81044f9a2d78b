"""One run: what its page shows, and to whom."""

import html
import json
import re
import shlex
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.models import Run
from orchestration.run_rows import RunRows
from tests.factories import MemberFactory
from tests.orchestration.run_pages.looks import CHAIN, TOLD, end, panel_of, put_question, text_of


@pytest.mark.parametrize(
    "path", ["", "?view=table", "?view=graph", "?step=check", "events/", "payload/", "related/", "part/"]
)
def test_a_run_is_looked_at_by_members_of_its_organization_alone(viewer, client, begin, path):
    run = begin(CHAIN)
    assert "Running" in text_of(viewer, f"/runs/{run.public_id}/{path}")
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert client.get(f"/runs/{run.public_id}/{path}").status_code == 404


def test_graph_timeline_and_table_show_the_same_steps(viewer, begin):
    run = begin(CHAIN)
    end(run, "figures")
    page = text_of(viewer, f"/runs/{run.public_id}/")
    assert re.findall(r'class="node tone-(\w+)" id="node-(\d)"', page) == [("good", "1"), ("idle", "2"), ("idle", "3")]
    assert page.count('marker-end="url(#arrow)"') == 2
    assert re.findall(r'<tr class="row-link[^"]*" id="step-(\d)">', page) == ["1", "2", "3"]
    assert 'class="lane-ran how-completed"' in page
    nonce = re.search(r"'nonce-([^']+)'", viewer.get(f"/runs/{run.public_id}/").headers["Content-Security-Policy"])
    assert nonce
    assert "style=" not in page
    table = text_of(viewer, f"/runs/{run.public_id}/?view=table")
    assert "node-1" not in table
    assert 'id="step-3"' in table


def test_a_step_that_runs_a_definition_leads_to_its_run(viewer, begin, save):
    below = save("name: below\nsteps: {a: {agent: echo}}")
    run = begin("  call: {run: below}\n")
    launch = {"version": below.pk, "public": "run_below", "input": {}}
    end(run, "call", "waiting", fields={"waits_for": "child", "more": {"launch": launch}})
    table = text_of(viewer, f"/runs/{run.public_id}/?view=table")
    assert '<td data-label="By"><bdi>below</bdi></td>' in table
    assert 'href="/runs/run_below/"' in panel_of(text_of(viewer, f"/runs/{run.public_id}/?step=call"))


def test_a_wait_with_a_run_leads_to_it_and_says_what_else_ends_it(viewer, begin, save, organization):
    below = save("name: below\nsteps: {a: {agent: echo}}")
    run = begin("  w: {wait: {any: [{run: below}, {event: paid, key: 7}, {for: 1d}]}}\n")
    launch = {"version": below.pk, "public": "run_below", "input": {}}
    hears = {"hears": [{"name": "paid", "key": "7"}], "organization": organization.pk, "look_back": 24}
    more = {"launch": launch, **hears, "becomes": "completed", "due_as": "completed"}
    end(run, "w", "waiting", fields={"waits_for": "child", "wake": 86400.0, "more": more})
    page = html.unescape(text_of(viewer, f"/runs/{run.public_id}/?view=table&step=w"))
    assert '<td data-label="By"><bdi>below</bdi></td>' in page
    assert 'href="/runs/run_below/"' in panel_of(page)
    said = re.sub(r"<[^>]+>", "", page)
    assert re.search(r"for the run of below that w started, which is \w+, or for “paid 7”, at most .+ more\.", said)
    assert "run_below" in text_of(viewer, f"/runs/{run.public_id}/related/")


def test_a_large_graph_is_drawn_when_asked_for(viewer, begin):
    run = begin("".join(f"  s{n}: {{agent: echo}}\n" for n in range(201)))
    page = text_of(viewer, f"/runs/{run.public_id}/")
    assert "node-1" not in page
    assert '201 steps: <a href="?view=graph">draw the graph</a>' in page
    assert 'id="node-201"' in text_of(viewer, f"/runs/{run.public_id}/?view=graph")


def test_what_the_panel_shows_is_asked_of_the_api_by_a_command(operator, begin, members):
    run = begin(CHAIN, given={"month": "it's 2026-10"})
    page = panel_of(text_of(operator, f"/runs/{run.public_id}/?step=figures"))
    commands = [html.unescape(one) for one in re.findall(r'data-copy="(curl [^"]+)"', page)]
    curl = ["curl", "-sS", "-H", "Authorization: Bearer $COUNTERSIGN_TOKEN"]
    address = f"http://testserver/api/v1/runs/{run.public_id}/"
    asked = [shlex.split(command) for command in commands]
    assert asked[:2] == [[*curl, address], [*curl, f"{address}logs/?step=figures"]]
    assert asked[2][-1] == f"{address}events"
    assert asked[3][-3:-1] == ["http://testserver/api/v1/runs/", "-d"]
    body = json.loads(asked[3][-1])
    assert body == {"definition": run.definition_version.definition.slug, "input": {"month": "it's 2026-10"}}
    for one in asked[:2]:
        assert operator.get(one[-1]).status_code == 200
    operator.force_login(members.viewer.user)
    assert "Start it again" not in text_of(operator, f"/runs/{run.public_id}/?step=figures")


def test_the_panel_shows_a_steps_tries_call_values_and_note(viewer, begin, save_agent):
    run = begin("  summary: {agent: summarizer, with: {text: hello}, retry: {attempts: 3, backoff: 1s}}\n")
    error = {"class": "temporary", "message": "the model is busy"}
    end(run, "summary", "waiting", input={"text": "hello"}, fields={"waits_for": "retry", "wake": 60, "error": error})
    usage = {"model": "gpt", "input_tokens": 12, "output_tokens": 34, "cost_usd": None, "simulated": True}
    end(run, "summary", output={"markdown": "<b>hi</b>"}, fields={"usage": usage})
    panel = panel_of(text_of(viewer, f"/runs/{run.public_id}/?step=summary"))
    for words in ("2 attempts", "of at most 3", "failed, to be tried again after", "the model is busy", "then waited"):
        assert words in panel
    for words in ("gpt", "12 read, 34 written", "not known", "Simulated", "3 messages", "You write short reports"):
        assert words in panel
    assert "&lt;b&gt;hi&lt;/b&gt;" in panel
    assert "<b>hi</b>" not in panel


@pytest.mark.parametrize(
    ("simulated", "words"),
    [
        ((True, True), "cost $0.5000, not paid: a stand-in answered"),
        ((True, False), "cost $0.5000, not all of it paid: a stand-in took part"),
        ((False, False), "cost $0.5000<"),
    ],
)
def test_the_head_says_of_a_cost_whether_it_was_paid(viewer, begin, simulated, words):
    run = begin("  one: {agent: echo}\n  two: {agent: echo}\n")
    for name, is_simulated in zip(("one", "two"), simulated, strict=True):
        usage = {"model": "m", "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.25, "simulated": is_simulated}
        end(run, name, fields={"usage": usage})
    assert words in text_of(viewer, f"/runs/{run.public_id}/")


def test_the_panel_of_a_checkpoint_shows_the_answer_and_who_gave_it(viewer, begin, members):
    run = begin(CHAIN)
    end(run, "figures")
    question = put_question(run, "check", payload_schema=None, editable=["/note"])
    words = {"choice": "continue", "note": "fine by me", "edits": {"/note": "new"}}
    question.decide(by=members.approver, digest=question.digest, **words)
    panel = panel_of(text_of(viewer, f"/runs/{run.public_id}/?step=check"))
    for words in ("KPI figures", "continue", members.approver.name, "fine by me", "1 place edited"):
        assert words in panel


def test_earlier_rounds_are_kept_and_shown(viewer, begin, members):
    run = begin(CHAIN)
    end(run, "figures")
    question = put_question(run, "check")
    question.decide(by=members.approver, choice="retry", digest=question.digest, note="Look again")
    answers.take_up_decisions()
    panel = panel_of(text_of(viewer, f"/runs/{run.public_id}/?step=figures"))
    assert "round 2 of 2" in panel
    assert "Look again" in panel
    earlier = panel_of(text_of(viewer, f"/runs/{run.public_id}/?step=figures&round=1"))
    assert "Completed" in earlier
    assert "Look again" not in earlier


def test_a_map_is_drawn_as_its_step_and_each_item_is_shown_by_itself(viewer, begin, engine, finished):
    run = begin("  a: {agent: echo, map: {over: [10, 20]}, with: {value: '${{ item }}'}}\n")
    engine.look()
    finished(run)
    shown = text_of(viewer, f"/runs/{run.public_id}/")
    assert re.findall(r'class="node [^>]*title="([^"]*)"', shown) == ["a"]
    links = re.findall(r'<a class="row" href="([^"]*)"', shown)
    assert links == ["?step=a", "?step=a&amp;index=0", "?step=a&amp;index=1"]
    panel = panel_of(text_of(viewer, f"/runs/{run.public_id}/?step=a&index=1"))
    assert "<bdi>a 1</bdi>" in panel
    (raw,) = {html.unescape(link) for link in re.findall(r'href="([^"]*/raw/output[^"]*)"', panel)}
    assert viewer.get(raw).json() == {"value": 20}
    assert "<bdi>a</bdi>" in panel_of(text_of(viewer, f"/runs/{run.public_id}/?step=a"))
    assert "<bdi>a</bdi>" in panel_of(text_of(viewer, f"/runs/{run.public_id}/?step=a&index=7"))


def test_nonsense_about_steps_is_answered_with_the_most_telling_one(viewer, begin):
    run = begin(CHAIN)
    for query in ("?step=nowhere", "?step=figures&round=x", "?step=figures&round=99999999999", "?view=upside-down"):
        assert "<bdi>figures</bdi>" in panel_of(text_of(viewer, f"/runs/{run.public_id}/{query}"))
    assert viewer.get("/runs/run_nonsense/").status_code == 404


def test_events_are_shown_newest_first_by_kind_and_older_by_key(viewer, begin):
    run = begin(CHAIN)
    for _ in range(210):
        rows(TOLD, [1, "figures", run.pk])
    rows("update orchestration_run set seq = 211 where id = %s", [run.pk])
    page = text_of(viewer, f"/runs/{run.public_id}/events/")
    assert re.findall(r'id="event-(\d+)"', page) == [str(n) for n in range(211, 11, -1)]
    older = text_of(viewer, f"/runs/{run.public_id}/events/?older=12")
    assert re.findall(r'id="event-(\d+)"', older) == [str(n) for n in range(11, 0, -1)]
    assert re.findall(r'id="event-(\d+)"', text_of(viewer, f"/runs/{run.public_id}/events/?kind=run.")) == ["1"]
    assert "No event of this kind" in text_of(viewer, f"/runs/{run.public_id}/events/?kind=deliverable.")
    assert viewer.get(f"/runs/{run.public_id}/events/?older=x&kind=y").status_code == 200


def test_large_values_are_shown_in_part_and_downloaded_whole(viewer, begin):
    large, huge = "x" * 200_000, "y" * 5_000_000
    run = begin("  figures: {agent: echo}\n", given={"text": huge})
    end(run, "figures", input={"a": large}, output={"b": huge})
    page = text_of(viewer, f"/runs/{run.public_id}/?step=figures")
    assert len(page) < 100_000
    assert "195.3\xa0KB" in page
    assert "4.8\xa0MB" in page
    assert len(text_of(viewer, f"/runs/{run.public_id}/payload/")) < 100_000
    raw = viewer.get(f"/runs/{run.public_id}/raw/output/?step=figures&round=1")
    assert raw.json() == {"b": huge}
    assert raw.headers["Content-Disposition"] == f'attachment; filename="{run.public_id}-figures-output.json"'
    assert viewer.get(f"/runs/{run.public_id}/raw/input/").json() == {"text": huge}
    assert viewer.get(f"/runs/{run.public_id}/raw/output/").status_code == 404
    assert viewer.get(f"/runs/{run.public_id}/raw/secret/").status_code == 404


@pytest.mark.parametrize("path", ["", "?view=table", "part/?after=1&step=s3", "events/", "related/", "payload/"])
def test_a_run_costs_as_many_queries_with_many_steps(viewer, begin, path):
    few = begin("".join(f"  s{n}: {{agent: echo}}\n" for n in range(4)))
    many = begin("".join(f"  s{n}: {{agent: echo}}\n" for n in range(60)))
    counts = []
    for run, count in ((few, 4), (many, 60)):
        for number in range(0, count, 2):
            end(run, f"s{number}", input={"a": number}, output={"text": "x" * 5000})
        # So that it is asked of both whether workers live, on a machine however quick.
        rows("update orchestration_run set created_at = created_at - interval '1 minute' where id = %s", [run.pk])
        rows("update orchestration_event set at = at - interval '1 minute' where run_id = %s", [run.pk])
        text_of(viewer, f"/runs/{run.public_id}/{path}")  # reads the plan
        with CaptureQueriesContext(connection) as seen:
            text_of(viewer, f"/runs/{run.public_id}/{path}")
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 13, counts


def test_hostile_names_and_values_are_text(viewer, begin):
    nasty = "<script>alert(1)</script>\u202e🚀" + "W" * 300
    run = begin(CHAIN, given={"text": nasty})
    end(run, "figures", output={nasty: nasty}, fields={"note": {"reason": nasty}})
    put_question(run, "check", title=nasty)
    for path in ("", "?step=figures", "?step=check", "events/", "payload/", "related/"):
        assert "<script>alert" not in text_of(viewer, f"/runs/{run.public_id}/{path}")
    assert "<script>alert" not in text_of(viewer, "/runs/?q=%3Cscript%3E")


OF_THE_RUN = "update orchestration_run set created_at = %s, ended_at = %s, status = 'completed' where id = %s"
OF_A_STEP = "update orchestration_step set started_at = %s, ended_at = %s, status = %s where run_id = %s and name = %s"
AN_EVENT = """
insert into orchestration_event (run_id, seq, type, key, at)
select run_id, max(seq) + 1, %s, 2, %s from orchestration_event where run_id = %s group by run_id
"""


def test_the_runs_time_and_its_steps_times_say_which_of_them_waited_for_people(viewer, begin):
    run = begin(CHAIN)
    end(run, "figures")
    put_question(run, "check")
    start = timezone.now() - timedelta(minutes=50)
    rows("update orchestration_run set created_at = %s, status = 'waiting' where id = %s", [start, run.pk])
    rows(OF_A_STEP, [start, start + timedelta(seconds=5), "completed", run.pk, "figures"])
    rows(OF_A_STEP, [start + timedelta(minutes=5), None, "waiting", run.pk, "check"])
    page = text_of(viewer, f"/runs/{run.public_id}/")
    assert re.search(r"for <span data-since[^>]+>50 min</span>, <span data-since[^>]+>45 min</span> of it wait", page)
    answered = start + timedelta(minutes=49)
    rows(OF_A_STEP, [start + timedelta(minutes=5), answered, "completed", run.pk, "check"])
    rows(OF_THE_RUN, [start, start + timedelta(minutes=50), run.pk])
    for kind, at in (("checkpoint.requested", start + timedelta(minutes=5)), ("step.completed", answered)):
        rows(AN_EVENT, [kind, at, run.pk])
    for path in ("", "part/"):
        page = text_of(viewer, f"/runs/{run.public_id}/{path}")
        assert "<span>took 50 min, 44 min of it waiting for people</span>" in page
    took = dict(re.findall(r'data-step="(\w+)".*?<td data-label="Took">(.*?)</td>', page))
    assert took == {"figures": "5.0 s", "check": '44 min <span class="dim">waiting</span>', "summary": ""}


def test_two_questions_at_a_time_are_one_wait(begin):
    run = begin("  a: {approval: {title: A}}\n  b: {approval: {title: B}}\n  c: {approval: {title: C}}\n")
    start = timezone.now() - timedelta(minutes=50)
    rows(OF_THE_RUN, [start, start + timedelta(minutes=40), run.pk])
    for name, first, last in (("a", 0, 10), ("b", 5, 20), ("c", 30, 31)):
        asked = [start + timedelta(minutes=first), start + timedelta(minutes=last), "completed", run.pk, name]
        rows(OF_A_STEP, asked)
    asking = RunRows(Run.objects.get(pk=run.pk)).asking
    assert (asking.seconds, asking.is_over) == (21 * 60, True)
    assert RunRows(begin("  s: {agent: echo}\n")).asking is None
