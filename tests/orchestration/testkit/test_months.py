"""The shipped agent that makes a report for several months at once: a run for each, and one joined result."""

import pytest

from approvals.models import Request
from orchestration.engine.connection import rows
from orchestration.models import Run
from orchestration.seeding import EXAMPLES, LIBRARY
from tests.harness import assert_all_sound

TEXTS = [EXAMPLES / "months.yaml", LIBRARY / "kpi-months.yaml", LIBRARY / "kpi-tracking.yaml"]
MONTHS = [f"2026-{number:02}" for number in range(1, 5)]
AGENTS = {
    "supabase-agent": lambda call: {"month": call.input["month"], "rows": []},
    "summarizer": lambda call: {"title": "T", "markdown": f"# {call.input['text']['month']}", "highlights": []},
}


@pytest.fixture
def months(play):
    return play(*TEXTS, agents=AGENTS)


def test_its_months_run_beside_each_other_and_are_joined_in_their_order(months, client):
    run = months.start({"months": MONTHS})
    asked = Request.objects.pending().order_by("-pk")
    assert len(asked) == len(MONTHS)  # all at once
    client.force_login(months.people["approver"].user)
    page = client.get(f"/runs/{run.row.public_id}/?step=reports").content.decode()
    assert any(f'class="button primary" href="/approvals/{request.public_id}/"' in page for request in asked)
    for request in asked:  # the last month first
        request.decide(by=months.people["approver"], choice="continue", digest=request.digest)
    months.go()
    assert run.status == "completed"
    assert run.output == {"months": MONTHS, "report": "\n\n---\n\n".join(f"# {month}" for month in MONTHS)}
    (joined,) = [child.deliverables for child in run.children]
    assert joined == {"kpi-reports": run.output["report"]}
    assert rows("select runs from orchestration_tree where root_run_id = %s", [run.pk]) == [(1 + len(MONTHS),)]
    assert_all_sound(list(Run.objects.values_list("pk", flat=True)))


def test_a_month_that_is_rejected_fails_the_whole_in_words(months):
    run = months.start({"months": MONTHS[:2]})
    run.answer("check", "abort", note="no")
    assert run.status == "failed"
    assert (run.error["class"], run.error["step"]) == ("child_failed", "reports")
    assert not Request.objects.pending().exists()
    assert_all_sound(list(Run.objects.values_list("pk", flat=True)))


def test_one_month_is_a_run_of_its_own_as_ever(play):
    run = play(EXAMPLES / "children.yaml", LIBRARY / "kpi-tracking.yaml", agents=AGENTS).start({"month": "2026-10"})
    assert run.answer("check").output == {"report": "# 2026-10"}
