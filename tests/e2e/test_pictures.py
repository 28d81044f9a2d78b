"""The README's pictures, made when asked: `COUNTERSIGN_PICTURES=docs/pictures bin/test tests/e2e/test_pictures.py`."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.harness import ROOT

LARGEST_BYTES = 150_000
WHERE = os.environ.get("COUNTERSIGN_PICTURES", "")
pytestmark = pytest.mark.skipif(not WHERE, reason="COUNTERSIGN_PICTURES names no folder")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def take(page, name):
    page.evaluate("document.fonts.ready")
    page.evaluate("document.activeElement?.blur()")
    path = Path(ROOT, WHERE, f"{name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, animations="disabled", caret="hide")
    assert path.stat().st_size < LARGEST_BYTES, path


@pytest.fixture(scope="module")
def lively(begin, waiting, decide, finish_one):
    """An organization with something of everything; gives (finished run, waiting run, its request)."""
    for month in ("2026-04", "2026-05", "2026-06"):
        _, request = waiting(given={"month": month})
        decide(request)
    _, request = waiting(given={"month": "2026-07"})
    decide(request, "abort", note="These are last year's figures")
    done = finish_one()
    waiting(given={"month": "2026-08"})
    return done, *waiting(given={"month": "2026-09"})


def test_pictures_of_the_dashboard_and_of_a_run(lively, window):
    _, run, _ = lively
    page = window("approver", viewport=DESK)
    page.goto("/")
    page.get_by_role("button", name="Hide").click()
    expect(page.get_by_role("button", name="Hide")).to_have_count(0)
    page.goto("/")
    expect(page.locator("#live")).to_have_text("Live")
    take(page, "dashboard")
    page = window("operator", viewport=DESK)
    page.goto(f"/runs/{run}/")
    expect(page.locator("#live")).to_have_text("Live")
    take(page, "run")
    page.emulate_media(color_scheme="dark")
    take(page, "run-dark")


def test_pictures_of_a_question(lively, window):
    _, _, request = lively
    page = window("approver", viewport=DESK)
    page.goto(f"/approvals/{request['id']}/")
    page.locator("#payload td.number [data-was]").first.fill("251000")
    expect(page.locator("#payload output.follows ins").first).not_to_be_empty()
    expect(page.locator("#live")).to_have_text("Live")
    take(page, "question")
    small = window("approver", viewport=PHONE)
    small.goto(f"/a/{request['id']}")
    take(small, "question-phone")


def test_pictures_of_a_report_and_of_the_editor(lively, window, client):
    done, _, _ = lively
    report = client("viewer").get(f"deliverables/?run={done}")["results"][0]["id"]
    page = window("builder", viewport=DESK)
    page.goto(f"/deliverables/{report}/")
    take(page, "report")
    page.goto("/definitions/kpi-tracking/edit/")
    take(page, "editor")
