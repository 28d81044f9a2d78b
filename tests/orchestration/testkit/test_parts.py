"""One step alone, and a stored run against a newer text."""

import json

import pytest

from orchestration.api.runs import detail_of
from orchestration.models import Run
from orchestration.testkit import Permanent, Temporary
from orchestration.testkit.exceptions import NotPlayable
from tests.orchestration.testkit.test_plays import AGENTS, KPI, ROWS

FIGURES = {"month": "2026-10", "rows": ROWS}


def test_a_step_is_tried_by_itself(play):
    kpi = play(KPI, agents=AGENTS)
    tried = kpi.step("figures", {"month": "2026-10"})
    assert (tried.status, tried.output) == ("completed", FIGURES)
    assert tried.input == {"operation": "kpi_by_month", "month": "2026-10"}
    asked = kpi.step("check", {"month": "2026-10"}, outputs={"figures": FIGURES})
    assert (asked.status, asked.waits_for) == ("waiting", "approval")
    assert asked.input == {"title": "KPI figures for 2026-10", "show": FIGURES}
    told = kpi.step("summary", {"month": "2026-10"}, outputs={"check": FIGURES})
    assert told.deliverable == {
        "name": "kpi-report",
        "title": "KPI report 2026-10",
        "content": "# KPI report 2026-10\n\n# 2026-10",
    }
    assert not Run.objects.exists()


def test_a_try_that_fails_says_when_the_next_one_is(play):
    kpi = play(KPI, steps={"figures": Temporary("busy", retry_after=60)})
    tried = kpi.step("figures", {"month": "2026-10"}, attempt=2)
    assert (tried.status, tried.waits_for, tried.again_after) == ("waiting", "retry", 60)
    assert kpi.step("figures", {"month": "2026-10"}, attempt=4).status == "failed"


def test_what_a_step_reads_must_be_said(play):
    with pytest.raises(NotPlayable, match="summary reads check"):
        play(KPI, agents=AGENTS).step("summary", {"month": "2026-10"})
    with pytest.raises(NotPlayable, match="no step summery"):
        play(KPI, agents=AGENTS).step("summery", {"month": "2026-10"})


def test_a_step_that_is_tried_alone_is_held_up_by_no_limit(play):
    text = "name: d\nsteps: {a: {agent: any, concurrency: {max: 1}, rate: {max: 1, per: 1h}}}"
    alone = play(text, agents={"any": {"x": 1}})
    assert [alone.step("a").status for _ in range(2)] == ["completed"] * 2


@pytest.fixture
def history(play):
    """A run of the past, as the API shows it: somebody corrected an amount."""
    run = play(KPI, agents=AGENTS).start({"month": "2026-10"}).answer("check", edits={"/rows/0/amount": 12.0})
    return json.loads(
        json.dumps(detail_of(Run.objects.for_list().get(pk=run.pk), run.play.people["viewer"]), default=str)
    )


def test_a_stored_run_takes_the_same_path(play, history, tmp_path):
    assert play(KPI).replay(history) == []
    stored = tmp_path / "run.json"
    stored.write_text(json.dumps(history))
    assert play(KPI).replay(stored) == []


def test_a_newer_text_is_told_where_it_leaves_the_path(play, history):
    newer = KPI.read_text().replace("style: executive", "style: short")
    (found,) = play(newer).replay(history)
    assert (found.step, found.what, found.now["style"]) == ("summary", "input", "short")
    more = KPI.read_text().replace("output: {", "  mail: {agent: echo, needs: [summary], with: {value: 1}}\noutput: {")
    found = play(more).replay(history)
    assert [(each.step, each.what, each.was, each.now) for each in found if each.what == "status"] == [
        ("mail", "status", None, "failed"),
        ("", "status", "completed", "failed"),
    ]


def test_what_failed_or_was_stopped_then_is_so_now(play):
    failed = play(KPI, steps={"figures": Permanent("gone")}).start({"month": "2026-10"})
    aborted = play(KPI, agents=AGENTS).start({"month": "2026-10"}).answer("check", "abort", note="no")
    for run in (failed, aborted):
        assert play(KPI).replay(detail_of(Run.objects.for_list().get(pk=run.pk), run.play.people["viewer"])) == []
