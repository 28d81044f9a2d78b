"""A user's own definition, run by the kit."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from accounts.clock import database_clock
from approvals.exceptions import InvalidAnswer, NotAllowed
from orchestration.doctor import examine
from orchestration.exceptions import InvalidInput
from orchestration.seeding import EXAMPLES, LIBRARY
from orchestration.testkit import Permanent, Temporary, TimedOut, in_turn
from orchestration.testkit.exceptions import NoAnswerCanned, NothingAsked, NotPlayable

KPI = LIBRARY / "kpi-tracking.yaml"
ROW = {"kpi": "revenue", "title": "Revenue", "amount": 10.0, "unit": "EUR"}
ROWS = [{**ROW, "target": None, "previous": None, "change_percent": None}]
AGENTS = {
    "supabase-agent": lambda call: {"month": call.input["month"], "rows": ROWS},
    "summarizer": lambda call: {"title": "T", "markdown": f"# {call.input['text']['month']}", "highlights": []},
}


def test_a_definition_runs_from_its_start_over_a_question_to_its_end(play):
    kpi = play(KPI, agents=AGENTS)
    run = kpi.start({"month": "2026-10"})
    assert run.waiting == {"check": "approval"}
    assert run.question("check").payload["rows"] == ROWS
    run.answer("check", edits={"/rows/0/amount": 12.0})
    assert run.status == "completed"
    assert run.output == {"report": "# 2026-10"}
    assert run.deliverables == {"kpi-report": "# KPI report 2026-10\n\n# 2026-10"}
    assert kpi.calls["summarizer"][0].input["text"]["rows"][0]["amount"] == 12.0
    assert examine([run.pk]) == []


@pytest.mark.parametrize(
    ("previous", "amount", "read", "change"),
    [
        (200.0, 250.0, -95.0, 25.0),
        (150.0, 100, -93.3, -33.3),
        (100, 100.06, -90.0, 0.1),
        (None, 5.0, None, None),
        (0.0, 5.0, None, None),
    ],
)
def test_the_change_is_worked_out_from_the_amount_that_the_reviewer_left(play, previous, amount, read, change):
    """And before from the amount that was read, whatever the database says of it."""
    figures = [{**ROWS[0], "previous": previous, "change_percent": -99.0}]
    kpi = play(KPI, agents={**AGENTS, "supabase-agent": lambda call: {"month": call.input["month"], "rows": figures}})
    run = kpi.start({"month": "2026-10"})
    assert run.question("check").payload["rows"] == [{**figures[0], "change_percent": read}]
    run.answer("check", edits={"/rows/0/amount": amount})
    assert run.status == "completed"
    (written,) = kpi.calls["summarizer"][0].input["text"]["rows"]
    assert written == {**figures[0], "amount": amount, "change_percent": change}


def test_only_the_amounts_may_be_changed(play):
    run = play(KPI, agents=AGENTS).start({"month": "2026-10"})
    for pointer in ("/rows/0/kpi", "/rows/0/change_percent", "/rows/0", "/rows", "/month"):
        with pytest.raises(InvalidAnswer):
            run.answer("check", edits={pointer: 12.0})


def test_what_is_answered_obeys_the_rules_of_every_door(play):
    run = play(KPI, agents=AGENTS).start({"month": "2026-10"})
    with pytest.raises(NotAllowed):
        run.answer("check", by="operator")
    with pytest.raises(InvalidAnswer):
        run.answer("check", "abort")
    with pytest.raises(NothingAsked, match="figures completed, check waiting"):
        run.answer("figures")
    run.answer("check", "abort", note="not ours")
    assert run.status == "rejected"


def test_a_round_has_the_reviewers_note(play):
    kpi = play(KPI, agents=AGENTS)
    run = kpi.start({"month": "2026-10"}).answer("check", "retry", note="again")
    assert run.steps["figures"].round == 2
    assert kpi.calls["supabase-agent"][1].conversation[0].content.endswith("again")
    assert run.answer("check").status == "completed"


def test_a_deadline_of_days_passes_in_no_time(play):
    kpi = play(KPI, agents=AGENTS, at=datetime(2026, 12, 1, 8, tzinfo=UTC))
    run = kpi.start({"month": "2026-10"})
    kpi.pass_time("71h")
    assert run.status == "waiting"
    kpi.pass_time(timedelta(hours=2))
    assert run.status == "rejected"
    assert run.row.ended_at.date().isoformat() == "2026-12-04"
    assert [event["at"].date().day for event in run.events][-1] == 4


def test_tries_come_when_they_are_due_one_after_the_other(play):
    text = """
name: flaky
steps:
  charge:
    agent: billing
    retry: {attempts: 4, backoff: 1h, factor: 2, max: 1d, jitter: 0}
output: ${{ steps.charge.output }}
"""
    flaky = play(text, agents={"billing": in_turn(Temporary("busy"), TimedOut("slow"), {"id": 7})})
    run = flaky.start()
    assert run.waiting == {"charge": "retry"}
    flaky.pass_time("59m")
    assert len(flaky.calls["billing"]) == 1
    flaky.pass_time("1w")
    assert [call.attempt for call in flaky.calls["billing"]] == [1, 2, 3]
    first, second, third = [event["at"] for event in run.events if event["type"] == "step.started"]
    assert round((second - first) / timedelta(hours=1), 2) == 1
    assert round((third - second) / timedelta(hours=1), 2) == 2
    assert run.output == {"id": 7}


def test_weeks_of_waiting_pass_in_no_time_and_in_their_order(play):
    dunning = play(EXAMPLES / "event.yaml", at=datetime(2026, 12, 1, tzinfo=UTC))
    unpaid = dunning.start({"invoice": "7", "due": "2027-01-01T00:00:00Z"})
    paid = dunning.start({"invoice": "8", "due": "2027-01-01T00:00:00Z"})
    dunning.pass_time("8d")
    paid.event("invoice.paid", "8", {"amount": 5})
    assert (unpaid.status, paid.status) == ("waiting", "completed")
    dunning.pass_time("6w")
    assert unpaid.error["class"] == "timeout"
    assert unpaid.row.ended_at.date().isoformat() == "2027-01-07"  # a week, and thirty days
    assert [event["at"].day for event in unpaid.events if event["type"] == "step.completed"] == [8, 8]


def test_a_week_of_a_schedule_passes_in_no_time(play):
    daily = play(EXAMPLES / "schedule.yaml", at=datetime(2026, 11, 27, 6, tzinfo=UTC))
    daily.pass_time("1w")
    assert [run.row.input["day"] for run in daily.runs] == [
        "2026-11-27",
        "2026-11-30",
        "2026-12-01",  # of the month
        "2026-12-01",
        "2026-12-02",
        "2026-12-03",
    ]
    assert {run.status for run in daily.runs} == {"completed"}
    assert [run.row.created_at.hour for run in daily.runs] == [7, 7, 0, 7, 7, 7]


def test_who_starts_others_starts_them_in_the_play(play):
    text = "name: boss\nsteps:\n  month: {agent: finance-manager, with: {month: 2026-10}}\n"
    run = play(text, KPI, agents=AGENTS).start()
    assert run.waiting == {"month": "child"}
    run.answer("check")
    assert (run.status, run.children[0].status) == ("completed", "completed")


def test_an_uncertain_step_waits_for_a_person(play):
    text = "name: once\nsteps:\n  pay: {agent: billing, repeatable: false}\n"
    run = play(text, agents={"billing": TimedOut("no answer")}).start()
    assert run.steps["pay"].status == "uncertain"
    assert run.resolve("pay", "completed", {"id": 1}).status == "completed"


def test_a_run_is_canceled(play):
    run = play(KPI, agents=AGENTS).start({"month": "2026-10"})
    assert run.cancel().status == "canceled"
    with pytest.raises(NothingAsked):
        run.question("check")


def test_operators_pull_levers(play):
    kpi = play(KPI, agents=AGENTS, steps={"figures": Permanent("gone")})
    run = kpi.start({"month": "2026-10"})
    assert run.status == "failed"
    run.pull("output", "figures", output={"month": "2026-10", "rows": ROWS})
    run.pull("pause").answer("check")
    assert run.status == "paused"
    assert run.pull("resume").status == "completed"
    with pytest.raises(NotPlayable, match="A step has no lever dance"):
        run.pull("dance", "figures")


def test_what_is_wrong_is_said(play):
    with pytest.raises(NotPlayable, match=r"definition:3:.*nobody"):
        play("name: bad\nsteps:\n  a: {agent: nobody}\n")
    with pytest.raises(InvalidInput):
        play(KPI, agents=AGENTS).start({"month": "soon"})
    with pytest.raises(NoAnswerCanned, match=r"The step figures called supabase-agent with .*kpi_by_month"):
        play(KPI).start({"month": "2026-10"})
    with pytest.raises(NotPlayable, match="3 weeks"):
        play(KPI).pass_time("3 weeks")


def test_an_error_of_the_tests_own_is_raised_and_one_of_an_agent_is_the_steps(play):
    with pytest.raises(KeyError):
        play(KPI, steps={"figures": lambda call: {}["x"]}).start({"month": "2026-10"})
    run = play(KPI, steps={"figures": Permanent("gone")}).start({"month": "2026-10"})
    assert run.error == {"step": "figures", "class": "permanent", "message": "gone"}


def test_two_plays_of_one_test_do_not_meet(play):
    first, second = (play(KPI, agents=AGENTS).start({"month": "2026-10"}) for _ in range(2))
    first.answer("check")
    assert (first.status, second.status) == ("completed", "waiting")


def test_a_jump_is_the_plays_alone(play):
    before = database_clock()
    with transaction.atomic():
        play(KPI, at=before + timedelta(days=1_000)).pass_time("1h")
        assert database_clock() - before > timedelta(days=1_000, hours=1)
        transaction.set_rollback(True)
    assert database_clock() - before < timedelta(hours=1)
