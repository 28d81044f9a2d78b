"""One run: why it is where it is, in a sentence."""

import re
from datetime import timedelta

from django.utils import timezone

from approvals.models import Request
from orchestration.engine import answers, settling
from orchestration.engine.connection import rows
from tests.orchestration.run_pages.looks import CHAIN, claim, end, fail, put_question, text_of


def words_of(client, run, query=""):
    """The sentence."""
    page = text_of(client, f"/runs/{run.public_id}/{query}")
    sentence = re.search(r'id="run-sentence"[^>]*>(.*?)</p>', page, re.DOTALL)[1]
    return re.sub(r"<[^>]+>", "", sentence).strip().replace("&lt;", "<").replace("&gt;", ">")


def live_worker(pk, seconds=60):
    """Whose lease ends in so many seconds."""
    rows(
        "insert into orchestration_worker (id, host, pid, lease_until)"
        " values (%s, 'box 7', 42, clock_timestamp() + make_interval(secs => %s))",
        [pk, seconds],
    )


def test_a_step_that_no_worker_takes_is_told_with_its_queue(viewer, begin):
    run = begin(CHAIN)
    assert words_of(viewer, run) == "figures is ready; a worker takes it up at once."
    rows("update orchestration_run set created_at = created_at - interval '1 minute' where id = %s", [run.pk])
    assert re.fullmatch(
        r"figures has been ready for 1 min( \d s)?, and no worker has taken it: no worker is running; start one.",
        words_of(viewer, run),
    )
    live_worker(1)
    assert "are workers of queue tool running" in words_of(viewer, run)


def test_a_running_step_is_told_with_its_worker(viewer, begin):
    run = begin("  figures: {agent: echo}\n  other: {agent: echo}\n")
    claim(run, "figures", 20)
    assert re.fullmatch(r"Running figures for 2\d s\.", words_of(viewer, run))
    live_worker(1)
    claim(run, "other")
    assert re.fullmatch(r"Running figures for 2\d s on worker box:42 \(and other\)\.", words_of(viewer, run))


def test_a_step_whose_worker_is_lost_is_told_with_what_follows(viewer, begin):
    run = begin("  figures: {agent: echo}\n  other: {agent: echo}\n")
    live_worker(1, -20)
    claim(run, "figures")
    wanted = r"Worker box:42, which ran figures, has been lost for 2\d s\. "
    assert re.fullmatch(wanted + r"No worker is running that would notice; start one\.", words_of(viewer, run))
    live_worker(2)
    assert re.fullmatch(wanted + r"It runs again as soon as another worker notices\.", words_of(viewer, run))
    rows("update orchestration_step set repeatable = false", [])
    assert words_of(viewer, run).endswith("a person is asked as soon as another worker notices.")


def test_a_question_is_told_with_who_is_asked_and_until_when(viewer, begin):
    run = begin(CHAIN)
    end(run, "figures")
    deadline = timezone.now() + timedelta(days=3)
    question = put_question(run, "check", title="KPI <figures>", deadline_at=deadline, deadline_choice="abort")
    wanted = r"Waiting \d+ s for an approver \(finance\) to approve “KPI <figures>”, due in 2 d 23 h\."
    assert re.fullmatch(wanted, words_of(viewer, run))
    Request.objects.filter(pk=question.pk).update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert words_of(viewer, run).endswith("; its time is over, and Abort follows.")


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
    settling.settle((other.pk, 1, 1), "running", settling.Outcome("canceled"))
    assert words_of(viewer, other) == f"Canceled by {members.operator.name}: “too late”."
