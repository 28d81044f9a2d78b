"""Rows of the list of runs are ticked, by pointer, key and phone; with and without scripts; while the list moves."""

import re

import pytest
from playwright.sync_api import expect

from tests.harness import until

LABEL = "choosing"
TEXT = """
name: choosing
labels: {set: choosing}
steps:
  wait: {approval: {title: Go on?}}
"""


@pytest.fixture
def four(site, client):
    """Runs that wait, newest first; the address of their list."""
    client("builder").post("definitions/", {"text": TEXT, "file": "choosing.yaml"})
    runs = [client("operator").post("runs/", {"definition": "choosing", "input": {}})["id"] for _ in range(4)]
    for run in runs:
        until(lambda run=run: client("operator").get(f"runs/{run}/")["status"] == "waiting")
    yield runs[::-1]
    for run in runs:
        if client("operator").get(f"runs/{run}/")["ended_at"] is None:
            client("operator").post(f"runs/{run}/cancel/", {"reason": "over"})


LIST = "/runs/?definition=choosing&status=waiting"


def box(page, run):
    return page.locator(f'input[name="run"][value="{run}"]')


def test_rows_are_ticked_and_what_is_chosen_survives_news(four, window, client):
    page = window("operator")
    page.goto(LIST)
    bar = page.locator("#choose")
    expect(bar).to_be_hidden()
    box(page, four[0]).check()
    box(page, four[2]).click(modifiers=["Shift"])
    expect(bar.get_by_text("3 runs chosen")).to_be_visible()
    page.locator(f"#row-{four[3]} a.row").focus()
    page.keyboard.press("x")
    expect(bar.get_by_text("4 runs chosen")).to_be_visible()
    page.keyboard.press("x")
    box(page, four[1]).press("Space")
    expect(page.get_by_role("status").filter(has_text="2 runs chosen")).to_be_attached()
    client("operator").post(f"runs/{four[0]}/pause/", {"reason": "news"})
    expect(page.locator(f"#row-{four[0]}").get_by_text("Paused")).to_be_visible()
    assert [box(page, run).is_checked() for run in four] == [True, False, True, False]
    expect(bar.get_by_text("2 runs chosen")).to_be_visible()
    bar.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel: 2 runs")
    page.get_by_label("Reason").fill("not needed")
    page.get_by_role("button", name="Cancel 2 runs").click()
    expect(page.get_by_role("status").filter(has_text="2 of 2, ended")).to_be_visible(timeout=20_000)
    assert [client("operator").get(f"runs/{run}/")["status"] for run in four] == [
        *("canceled", "waiting", "canceled", "waiting"),
    ]


def test_a_whole_page_is_ticked_and_left(four, window):
    page = window("operator")
    page.goto(LIST)
    every = page.get_by_label("Choose all on this page")
    every.check()
    expect(page.locator("#choose").get_by_text("4 runs chosen")).to_be_visible()
    box(page, four[1]).uncheck()
    assert every.evaluate("box => box.indeterminate")
    page.get_by_role("button", name="None").click()
    expect(page.locator("#choose")).to_be_hidden()


def test_on_a_phone_and_without_scripts_it_leads_to_the_same_page(four, window, phone, axe):
    page = window("operator", java_script_enabled=False, viewport={"width": 390, "height": 850})
    page.goto(LIST)
    box(page, four[0]).check()
    box(page, four[3]).check()
    page.locator("#choose").get_by_role("button", name=re.compile("Pause")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pause: 2 runs")
    page = phone("operator")
    page.goto(LIST)
    box(page, four[0]).tap()
    expect(page.locator("#choose").get_by_text("1 run chosen")).to_be_in_viewport()
    page.get_by_role("button", name="All 4 on this page").tap()
    expect(page.locator("#choose").get_by_text("4 runs chosen")).to_be_visible()
    assert axe(page) == []
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
