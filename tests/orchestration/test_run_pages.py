"""The pages of runs: the list, the start, one run, and what people do to it."""

import html
import json
import re
import shlex
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry
from approvals.models import Request
from orchestration.engine import answers, starts
from orchestration.engine.connection import rows
from orchestration.models import Deliverable, Run, Step
from tests.factories import MemberFactory, PolicyFactory, ask
from tests.harness import until

CHAIN = "  figures: {agent: echo, retry: {attempts: 4, backoff: 1h}}\n"
CHAIN += "  check: {needs: [figures], approval: {title: 'KPI <figures>', policy: finance-sign-off}}\n"
CHAIN += "  summary: {agent: echo, needs: [check]}\n"
MONTHLY = "name: monthly\ndescription: Once a month\n"
MONTHLY += "input: {type: object, required: [month, key], properties: {month: {type: string, pattern: '^[0-9-]+$'},"
MONTHLY += " key: {type: integer}}}\nsteps:\n  figures: {agent: echo}\n"
TOLD = """
insert into orchestration_event (run_id, seq, type, key, data)
select run_id, max(seq) + 1, 'step.started', %s, jsonb_build_object('step', %s::text) from orchestration_event
where run_id = %s group by run_id
"""


@pytest.fixture
def viewer(client, members):
    client.force_login(members.viewer.user)
    return client


@pytest.fixture
def operator(client, members):
    client.force_login(members.operator.user)
    return client


def text_of(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return answer.content.decode()


def words_of(client, run, query=""):
    """The sentence."""
    page = text_of(client, f"/runs/{run.public_id}/{query}")
    sentence = re.search(r'id="run-sentence"[^>]*>(.*?)</p>', page, re.DOTALL)[1]
    return re.sub(r"<[^>]+>", "", sentence).strip().replace("&lt;", "<").replace("&gt;", ">")


def claim(run, name, seconds_ago=0.0):
    """The step is running, for a worker that is no more. Gives (run, key, fence)."""
    step = run.steps.get(name=name)
    rows(
        "update orchestration_step set status = 'running', owner = 1, fence = fence + 1, attempt = attempt + 1,"
        " started_at = clock_timestamp() - make_interval(secs => %s) where run_id = %s and key = %s",
        [seconds_ago, run.pk, step.key],
    )
    rows(TOLD, [step.key, name, run.pk])
    rows("update orchestration_run set seq = seq + 1 where id = %s", [run.pk])
    return run.pk, step.key, step.fence + 1


def end(run, name, becomes="completed", **outcome):
    outcome = {"output": {"value": 1}} | outcome if becomes == "completed" else outcome
    assert answers.settle(claim(run, name), "running", answers.Outcome(becomes, **outcome))


def fail(run, name, **error):
    end(run, name, "failed", fields={"error": {"class": "permanent", "message": "no such account", **error}})


def put_question(run, name, **changes):
    """The step asks people, as a walker would let it."""
    place = claim(run, name)
    policy = PolicyFactory(organization=run.organization, slug="finance", roles=["approver"])
    context = {
        "run": run.public_id,
        "step": name,
        "key": place[1],
        "definition": "d",
        "run_id": run.pk,
        "fence": place[2],
    }
    question = ask(policy, subject=run.subject_of(name), context=context, **changes)
    waits = answers.Outcome("waiting", input={"show": 1}, fields={"waits_for": "approval"})
    assert answers.settle(place, "running", waits)
    return question


# --- the list


def test_an_empty_list_says_what_to_do_to_those_who_may(operator, members):
    page = text_of(operator, "/runs/")
    assert "Nothing has run yet" in page
    assert page.count('href="/runs/new/"') == 2
    operator.force_login(members.viewer.user)
    page = text_of(operator, "/runs/")
    assert "An operator starts one" in page
    assert 'href="/runs/new/"' not in page


def test_a_row_tells_status_step_and_cost(viewer, begin, members):
    run = begin(CHAIN)
    usage = {"model": "m", "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.25, "simulated": True}
    end(run, "figures", fields={"usage": usage})
    put_question(run, "check")
    page = text_of(viewer, "/runs/")
    row = re.search(rf'<tr[^>]*id="row-{run.public_id}".*?</tr>', page, re.DOTALL)[0]
    assert f'href="/runs/{run.public_id}/"' in row
    for words in ("Waiting for approval", "<bdi>check</bdi>", "$0.2500", "Simulated", members.operator.name, "@1"):
        assert words in row


def shown(page):
    return re.findall(r'id="row-(run_\w+)"', page)


def test_filters_are_in_the_address(viewer, begin, members):
    failed, waiting, unknown, plain = (begin("  figures: {agent: echo}\n") for _ in range(4))
    fail(failed, "figures")
    end(waiting, "figures", "waiting", fields={"waits_for": "retry"})
    end(unknown, "figures", "uncertain")
    mine = starts.start(
        organization=plain.organization, definition="test-4", given={"customer": "Zoë"}, by=members.viewer
    )
    of = {name: run.public_id for name, run in locals().items() if isinstance(run, Run)}
    yesterday = (timezone.localtime() - timedelta(days=1)).date().isoformat()
    for query, wanted in (
        ("", {"failed", "waiting", "unknown", "plain", "mine"}),
        ("status=failed", {"failed"}),
        ("status=failed&status=waiting", {"failed", "waiting", "unknown"}),
        ("status=failed,rejected", {"failed"}),
        ("status=uncertain", {"unknown"}),
        ("status=open", {"waiting", "unknown", "plain", "mine"}),
        ("definition=test-4", {"plain", "mine"}),
        ("mine=1", {"mine"}),
        ("time=24h&status=failed", {"failed"}),
        ("time=today", {"failed", "waiting", "unknown", "plain", "mine"}),
        (f"to={yesterday}", set()),
        (f"from={yesterday}&status=failed", {"failed"}),
        ("from=2126-01-01", set()),
        ("q=zoë", {"mine"}),
        ("q=TEST-1", {"failed"}),
        (f"q={plain.public_id}", {"plain"}),
        (f"q={plain.public_id[:12]}", {"plain"}),
        (f"q={plain.public_id[-4:]}&status=running", {"plain"}),
        ("q=nowhere", set()),
    ):
        assert set(shown(text_of(viewer, f"/runs/?{query}"))) == {of[name] for name in wanted}, query


def test_the_choice_of_statuses_keeps_what_the_address_says(viewer, begin):
    begin(CHAIN)
    for query, option in (
        ("status=failed&status=rejected", '<option value="failed,rejected" selected>Failed or rejected</option>'),
        ("status=failed&status=waiting", '<option value="failed,waiting" selected>failed or waiting</option>'),
        ("", '<option value="" selected>Any status</option>'),
    ):
        assert option in text_of(viewer, f"/runs/?{query}")


def test_nonsense_in_the_address_is_left_out_in_words(viewer, begin):
    begin(CHAIN)
    page = text_of(viewer, "/runs/?status=<b>&time=never&from=yesterday&to=2026-13-45&mine=x")
    assert "No run has the status “&lt;b&gt;”" in page
    assert "“never” is no time" in page
    assert "“yesterday” is no time" in page
    assert "“2026-13-45” is no time" in page
    assert len(shown(page)) == 1
    assert viewer.get("/runs/?older=run_nonsense").status_code == 404
    assert viewer.get("/runs/?to=9999-12-31").status_code == 200


def test_older_goes_on_by_key_while_new_runs_come(viewer, begin):
    runs = [begin("  figures: {agent: echo}\n") for _ in range(53)]
    newest_first = [run.public_id for run in reversed(runs)]
    first = text_of(viewer, "/runs/")
    assert shown(first) == newest_first[:50]
    begin("  figures: {agent: echo}\n")
    older = re.search(r'href="(/runs/\?[^"]*older=[^"]+)"', first)[1].replace("&amp;", "&")
    assert shown(text_of(viewer, older)) == newest_first[50:]


def test_new_runs_are_announced_and_rows_shown_change_in_place(viewer, begin):
    first = begin("  figures: {agent: echo}\n")
    page = text_of(viewer, "/runs/?status=open")
    part = re.search(r'data-part="([^"]+)"', page)[1].replace("&amp;", "&")
    assert "new</a>" not in text_of(viewer, part)
    for _ in range(3):
        begin("  figures: {agent: echo}\n")
    fail(first, "figures")
    answer = text_of(viewer, part)
    assert shown(answer) == [first.public_id]  # it has no place among those not ended, but its row does not go away
    assert "Failed" in answer
    assert "3 new</a>" in answer
    assert "<html" not in answer


def test_ids_of_another_organization_give_nothing(viewer, begin, client):
    run = begin(CHAIN)
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert run.public_id not in text_of(client, "/runs/")
    assert shown(text_of(client, f"/runs/part/?ids={run.public_id}")) == []
    assert " new</a>" not in text_of(client, f"/runs/part/?known=&ids={run.public_id}")


def test_many_rows_cost_as_many_queries_as_few(viewer, begin):
    counts = []
    for count in (2, 20):
        for _ in range(count):
            end(begin(CHAIN), "figures")
        with CaptureQueriesContext(connection) as seen:
            text_of(viewer, "/runs/?q=1")
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 10, counts


# --- start


def test_a_run_is_started_from_the_form_that_the_input_schema_draws(operator, save, members):
    save(MONTHLY)
    assert "Once a month" in text_of(operator, "/runs/new/")
    page = text_of(operator, "/runs/new/monthly/")
    assert 'name="input-month"' in page
    assert 'name="input-key"' in page
    key = re.search(r'name="key" value="([^"]+)"', page)[1]
    answer = operator.post("/runs/new/monthly/", {"input-month": "2026-10", "input-key": "7", "key": key})
    run = Run.objects.get()
    assert answer.headers["Location"] == f"/runs/{run.public_id}/"
    assert (run.input, run.started_by) == ({"month": "2026-10", "key": 7}, members.operator)


def test_a_form_sent_twice_starts_one_run(operator, save):
    save(MONTHLY)
    sent = {"input-month": "2026-10", "input-key": "7", "key": "once"}
    places = {operator.post("/runs/new/monthly/", sent).headers["Location"] for _ in range(2)}
    assert len(places) == Run.objects.count() == 1
    answer = operator.post("/runs/new/monthly/", sent | {"input-month": "2026-11"})
    assert answer.status_code == 409
    assert "has started a run before" in answer.content.decode()
    new = re.search(r'name="key" value="([^"]+)"', answer.content.decode())[1]
    assert new != "once"
    assert operator.post("/runs/new/monthly/", sent | {"input-month": "2026-11", "key": new}).status_code == 302
    assert Run.objects.count() == 2


def test_what_does_not_fit_is_shown_again_with_the_error_at_its_field(operator, save):
    save(MONTHLY)
    answer = operator.post("/runs/new/monthly/", {"input-month": "October", "input-key": "7", "key": "k"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert 'value="October"' in page
    assert 'name="key" value="k"' in page
    assert re.search(r'id="id_input-month_error"[^>]*><p>This does not have the form that is asked for\.</p>', page)
    assert "The exact form" in page
    assert Run.objects.count() == 0


def test_the_input_may_be_given_as_json(operator, save):
    save(MONTHLY)
    answer = operator.post("/runs/new/monthly/", {"as": "raw", "raw": '{"month": 1}', "key": "k"})
    assert answer.status_code == 400
    assert "/month" in answer.content.decode()
    answer = operator.post("/runs/new/monthly/", {"as": "raw", "raw": "{", "key": "k"})
    assert "is no JSON" in answer.content.decode()
    answer = operator.post("/runs/new/monthly/", {"as": "raw", "raw": '{"month": "\\u0000", "key": 1}', "key": "k"})
    assert answer.status_code == 400
    given = {"month": "2026-10", "key": 7, "more": [1]}
    assert operator.post("/runs/new/monthly/", {"as": "raw", "raw": json.dumps(given), "key": "k"}).status_code == 302
    assert Run.objects.get().input == given


def test_a_definition_without_a_schema_takes_any_json(operator, save):
    save("name: any\nsteps:\n  figures: {agent: echo}\n")
    assert "input-value" in text_of(operator, "/runs/new/any/")
    assert operator.post("/runs/new/any/", {"input-value": '{"a": [1]}', "key": "k"}).status_code == 302
    assert Run.objects.get().input == {"a": [1]}


def test_run_again_fills_in_what_was_given(operator, save, client, members, organization):
    save(MONTHLY)
    given = {"month": "2026-10", "key": 7}
    run = starts.start(organization=organization, definition="monthly", given=given, by=members.operator)
    page = text_of(operator, f"/runs/{run.public_id}/")
    again = re.search(rf'href="(/runs/new/monthly/\?from={run.public_id})"', page)[1]
    assert 'value="2026-10"' in text_of(operator, again)
    other = MemberFactory(roles=["operator"])
    client.force_login(other.user)
    assert client.get(again).status_code == 404


def test_only_operators_start_and_others_read_why(viewer, save):
    save(MONTHLY)
    for path in ("/runs/new/", "/runs/new/monthly/"):
        page = text_of(viewer, path)
        assert "needs the role operator" in page
    assert "<input" not in page.partition("<main")[2].partition("</main>")[0]
    assert viewer.post("/runs/new/monthly/", {"input-month": "2026-10", "key": "k"}).status_code == 403
    assert viewer.get("/runs/new/nowhere/").status_code == 404
    assert Run.objects.count() == 0


# --- one run: why it is where it is


def test_a_step_that_no_worker_takes_is_told_with_its_queue(viewer, begin):
    run = begin(CHAIN)
    assert words_of(viewer, run) == "figures is ready; a worker takes it up at once."
    rows("update orchestration_run set created_at = created_at - interval '1 minute' where id = %s", [run.pk])
    assert re.fullmatch(
        r"figures has been ready for 1 min( \d s)?, and no worker has taken it: no worker is running; start one.",
        words_of(viewer, run),
    )
    living = "insert into orchestration_worker (host, pid, lease_until) values ('h', 1, clock_timestamp() + '1 minute')"
    rows(living, [])
    assert "are workers of queue tool running" in words_of(viewer, run)


def test_a_running_step_is_told_with_its_worker(viewer, begin):
    run = begin("  figures: {agent: echo}\n  other: {agent: echo}\n")
    claim(run, "figures", 20)
    assert re.fullmatch(r"Running figures for 2\d s\.", words_of(viewer, run))
    rows("insert into orchestration_worker (id, host, pid, lease_until) values (1, 'box 7', 42, now())", [])
    claim(run, "other")
    assert re.fullmatch(r"Running figures for 2\d s on worker box:42 \(and other\)\.", words_of(viewer, run))


def test_a_question_is_told_with_who_is_asked_and_until_when(viewer, begin):
    run = begin(CHAIN)
    end(run, "figures")
    deadline = timezone.now() + timedelta(days=3)
    question = put_question(run, "check", title="KPI <figures>", deadline_at=deadline, deadline_choice="abort")
    wanted = r"Waiting \d+ s for finance to approve “KPI <figures>”, due in 2 d 23 h\."
    assert re.fullmatch(wanted, words_of(viewer, run))
    Request.objects.filter(pk=question.pk).update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert words_of(viewer, run).endswith("; its time is over, and abort follows.")


def test_an_answer_that_no_worker_has_taken_up_is_told(viewer, begin, members):
    run = begin(CHAIN)
    end(run, "figures")
    question = put_question(run, "check")
    question.decide(by=members.approver, choice="continue", digest=question.digest)
    wanted = f"check was answered by {members.approver.name}; a worker takes the answer up at once."
    assert words_of(viewer, run) == wanted


def test_a_retry_is_told_with_its_number_its_time_and_the_reason(viewer, begin):
    run = begin(CHAIN)
    error = {"class": "temporary", "message": "the other side is busy."}
    end(run, "figures", "waiting", fields={"waits_for": "retry", "wake": 3600, "error": error})
    wanted = r"Retrying figures: attempt 2 of 4 in (59 min \d+ s|1 h), after “the other side is busy”\."
    assert re.fullmatch(wanted, words_of(viewer, run))
    chip = r"Retry 2 of 4 in <span data-until=[^>]+>(59 min \d+ s|1 h)</span>"
    assert len(re.findall(chip, text_of(viewer, f"/runs/{run.public_id}/"))) == 3  # in graph, timeline and panel
    assert re.search(chip.replace(" of 4", ""), text_of(viewer, "/runs/"))


def test_an_unknown_result_is_told_before_all_else(viewer, begin):
    run = begin(CHAIN + "  other: {agent: echo}\n")
    claim(run, "other")
    end(run, "figures", "uncertain")
    words = words_of(viewer, run)
    assert words.startswith("Nobody knows whether figures happened")
    assert words.endswith("Say what became of it.")


def test_a_child_is_told_with_its_run(viewer, begin):
    child, run = begin("  figures: {agent: echo}\n"), begin(CHAIN)
    end(run, "figures", "waiting", fields={"waits_for": "child", "child": child.pk})
    wanted = r"Waiting \d+ s for the run of test-1 that figures started, which is running\."
    assert re.fullmatch(wanted, words_of(viewer, run))
    assert f'href="/runs/{child.public_id}/"' in text_of(viewer, f"/runs/{run.public_id}/related/")


def test_a_failure_is_told_with_what_to_do(viewer, begin):
    run = begin(CHAIN)
    fail(run, "figures")
    wanted = "Failed in figures: “no such account”. Correct what it was given, or the definition, and run it again."
    assert words_of(viewer, run) == wanted


def test_the_end_is_told_with_how_long_it_took_and_what_it_made(viewer, begin):
    run = begin("  figures: {agent: echo, deliverable: {name: d, title: t, content: c}}\n")
    made = {"id": "dlv_1", "name": "d", "title": "The <report>", "content": "c"}
    end(run, "figures", fields={"deliverable": made})
    assert re.fullmatch(r"Completed after [\d.]+ m?s\. It made The <report>\.", words_of(viewer, run))


def test_a_rejection_and_a_cancel_are_told_with_who_and_why(viewer, begin, members):
    run = begin(CHAIN)
    end(run, "figures")
    question = put_question(run, "check")
    question.decide(by=members.approver, choice="abort", digest=question.digest, note="Wrong month.")
    answers.take_up_decisions()
    assert words_of(viewer, run) == f"Rejected at check by {members.approver.name}: “Wrong month”."
    other = begin(CHAIN)
    claim(other, "figures")
    answers.cancel(other, by=members.operator, reason="too late")
    assert words_of(viewer, other) == (
        f"Canceling, 1 call under way may end; nothing new starts. Asked for by {members.operator.name}: “too late”."
    )
    answers.settle((other.pk, 1, 1), "running", answers.Outcome("canceled"))
    assert words_of(viewer, other) == f"Canceled by {members.operator.name}: “too late”."


# --- one run: what is shown


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


def panel_of(page):
    return re.search(r'<section class="card step-panel".*?\n</section>', page, re.DOTALL)[0]


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


# --- what changes


HEAD = ["count-pagesapprovals", "run-head", "run-sentence"]  # what every part has


def targets(client, run, query):
    answer = client.get(f"/runs/{run.public_id}/part/?{query}")
    return re.findall(r'hx-target="#([\w-]+)"', answer.content.decode()), answer


def test_the_part_is_what_changed_since_and_says_up_to_which_event(viewer, begin):
    run = begin(CHAIN)
    end(run, "figures")
    names, answer = targets(viewer, run, "tab=overview&view=table&step=figures&after=2")
    assert names == [*HEAD, "step-1", "step-2", "step-panel"]
    assert answer.headers["X-Seq"] == "3"
    assert "<html" not in answer.content.decode()
    names, _ = targets(viewer, run, "tab=overview&view=table&step=figures&after=3")
    assert names == [*HEAD, "step-1"]
    names, _ = targets(viewer, run, "tab=overview&step=summary&after=2")
    assert names == [
        "count-pagesapprovals",
        "run-head",
        "run-sentence",
        "node-1",
        "node-2",
        "node-3",
        "axis",
        "step-1",
        "step-2",
        "step-3",
    ]
    names, _ = targets(viewer, run, "tab=overview&view=table&after=0")
    assert names == [*HEAD, "step-1", "step-2", "step-3"]
    assert targets(viewer, run, "tab=payload&after=2")[0] == HEAD
    names, answer = targets(viewer, run, "tab=events&after=1")
    assert names == [*HEAD, "events-news"]
    assert "2 new</a>" in answer.content.decode()


def test_the_output_comes_to_an_open_page_when_the_run_has_ended(engine, viewer, begin, finished):
    run = begin("  s: {agent: echo, with: {value: 41}}\noutput: {n: '${{ steps.s.output.value }}'}\n")
    finished(run)
    names, answer = targets(viewer, run, "tab=payload&after=1")
    assert names == [*HEAD, "run-output"]
    assert "41" in answer.content.decode().partition('id="run-output"')[2]


def test_the_panel_follows_the_run_until_a_step_is_chosen(viewer, begin):
    run = begin(CHAIN)
    page = text_of(viewer, f"/runs/{run.public_id}/")
    assert "follow=1" in re.search(r'data-part="([^"]+)"', page)[1]
    assert (
        "follow=1" not in re.search(r'data-part="([^"]+)"', text_of(viewer, f"/runs/{run.public_id}/?step=figures"))[1]
    )
    end(run, "figures")
    put_question(run, "check")
    _, answer = targets(viewer, run, "tab=overview&step=figures&follow=1&after=1")
    assert 'data-step="check"' in panel_of(answer.content.decode())
    names, answer = targets(viewer, run, "tab=overview&step=summary&chosen=1&after=99")
    assert names == ["step-panel"]
    assert "Not started" in answer.content.decode()


def test_a_round_that_opens_draws_all_steps_anew(viewer, begin, members):
    run = begin(CHAIN)
    end(run, "figures")
    question = put_question(run, "check")
    question.decide(by=members.approver, choice="retry", digest=question.digest, note="again")
    run.refresh_from_db()
    before = run.seq
    answers.take_up_decisions()
    names, answer = targets(viewer, run, f"tab=overview&view=table&step=summary&after={before}")
    assert names == [*HEAD, "step-1", "step-2", "step-3", "step-panel"]
    assert "round 2" in answer.content.decode()


# --- what people do


def test_who_may_decide_is_led_to_the_question(viewer, client, begin, members):
    run = begin(CHAIN)
    end(run, "figures")
    question = put_question(run, "check")
    link = f'class="button primary" href="/approvals/{question.public_id}/"'
    assert link not in text_of(viewer, f"/runs/{run.public_id}/")
    client.force_login(members.approver.user)
    assert link in text_of(client, f"/runs/{run.public_id}/")


def test_an_operator_cancels_with_a_reason(operator, begin, members):
    run = begin(CHAIN)
    answer = operator.post(f"/runs/{run.public_id}/cancel/", {"reason": "not needed"}, follow=True)
    assert answer.redirect_chain == [(f"/runs/{run.public_id}/", 302)]
    page = answer.content.decode()
    assert "Canceled." in page
    assert 'id="cancel"' not in page
    run.refresh_from_db()
    assert run.status == "canceled"
    entry = AuditEntry.objects.get(action="run.cancel")
    assert entry.data["reason"] == "not needed"
    again = operator.post(f"/runs/{run.public_id}/cancel/", {"reason": ""})
    assert again.status_code == 409
    assert "The run has ended: it is canceled." in again.content.decode()
    assert operator.post(f"/runs/{run.public_id}/cancel/", {"reason": "x" * 2001}).status_code == 400


def test_viewers_neither_cancel_nor_resolve_and_looking_changes_nothing(viewer, begin, client):
    run = begin(CHAIN)
    end(run, "figures", "uncertain")
    page = text_of(viewer, f"/runs/{run.public_id}/?step=figures")
    assert 'id="cancel"' not in page
    assert "resolve" not in page
    assert "An operator says what became of it." in page
    for path in ("cancel/", "steps/figures/resolve/"):
        assert viewer.post(f"/runs/{run.public_id}/{path}", {"outcome": "again", "reason": "r"}).status_code == 403
        assert viewer.get(f"/runs/{run.public_id}/{path}").status_code == 405
    client.force_login(MemberFactory(roles=["operator"]).user)
    for path in ("cancel/", "steps/figures/resolve/"):
        assert client.post(f"/runs/{run.public_id}/{path}", {"outcome": "again", "reason": "r"}).status_code == 404
    run.refresh_from_db()
    assert run.status == "waiting"


@pytest.mark.parametrize(
    ("outcome", "output", "becomes"),
    [("completed", '{"value": 2}', "completed"), ("failed", "", "failed"), ("again", "", "ready")],
)
def test_an_operator_says_what_became_of_a_step(operator, begin, outcome, output, becomes):
    run = begin("  figures: {agent: echo}\n  after: {agent: echo, needs: [figures]}\n")
    end(run, "figures", "uncertain")
    assert "Say what happened" in text_of(operator, f"/runs/{run.public_id}/")
    sent = {"outcome": outcome, "output": output, "reason": "I asked them"}
    answer = operator.post(f"/runs/{run.public_id}/steps/figures/resolve/", sent)
    assert answer.headers["Location"] == f"/runs/{run.public_id}/?step=figures"
    step = Step.objects.get(run=run, key=1)
    assert step.status == becomes
    assert AuditEntry.objects.get(action="step.resolve").data["reason"] == "I asked them"
    again = operator.post(f"/runs/{run.public_id}/steps/figures/resolve/", sent)
    assert again.status_code == 409
    assert "only an uncertain step can be resolved" in again.content.decode()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"outcome": "completed", "output": '{"no": 1}', "reason": "r"}, "required property"),
        ({"outcome": "completed", "output": "{", "reason": "r"}, "is no JSON"),
        ({"outcome": "failed", "output": "1", "reason": "r"}, "There is no output with failed"),
        ({"outcome": "maybe", "reason": "r"}, "Select a valid choice"),
        ({"outcome": "again"}, "This field is required"),
    ],
)
def test_what_cannot_be_said_of_a_step_is_shown_again_with_its_error(operator, begin, sent, words):
    run = begin("  figures: {agent: echo}\n")
    end(run, "figures", "uncertain")
    answer = operator.post(f"/runs/{run.public_id}/steps/figures/resolve/", sent)
    assert answer.status_code == 400
    panel = panel_of(answer.content.decode())
    assert words in panel
    assert Step.objects.get(run=run, key=1).status == "uncertain"


def test_hostile_names_and_values_are_text(viewer, begin):
    nasty = "<script>alert(1)</script>\u202e🚀" + "W" * 300
    run = begin(CHAIN, given={"text": nasty})
    end(run, "figures", output={nasty: nasty}, fields={"note": {"reason": nasty}})
    put_question(run, "check", title=nasty)
    for path in ("", "?step=figures", "?step=check", "events/", "payload/", "related/"):
        assert "<script>alert" not in text_of(viewer, f"/runs/{run.public_id}/{path}")
    assert "<script>alert" not in text_of(viewer, "/runs/?q=%3Cscript%3E")


# --- with an engine at work


def test_a_real_run_is_followed_to_its_end(engine, begin, client, members, finished):
    client.force_login(members.operator.user)
    run = begin(
        "  flaky: {agent: echo, with: {value: 1, fail: {times: 1}}, retry: {attempts: 2, backoff: 10ms}}\n"
        "  report: {agent: echo, needs: [flaky], deliverable: {name: d, title: Report, content: c}}\n"
    )
    run = finished(run)
    until(lambda: Deliverable.objects.filter(run=run).exists())
    page = text_of(client, f"/runs/{run.public_id}/?step=flaky")
    assert "It made" in page
    assert "2 attempts" in page
    assert page.count('class="lane-ran') == 3
    assert 'class="lane-waited"' in page
