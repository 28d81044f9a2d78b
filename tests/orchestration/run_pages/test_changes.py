"""What comes to an open page while its run moves."""

import re

from orchestration.engine import answers
from orchestration.models import Deliverable
from tests.harness import until
from tests.orchestration.run_pages.looks import CHAIN, end, panel_of, put_question, text_of

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
