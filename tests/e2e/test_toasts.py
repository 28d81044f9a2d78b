"""Words that come and go: beside what one reads, and away by themselves."""

import pytest
from playwright.sync_api import expect

AWAY_AFTER_MS = 8_000
# What of a page lies under one of its toasts, where one reads or acts.
UNDER = """
(places) => [...document.querySelectorAll('#toasts .toast')].flatMap((toast) => {
  const over = toast.getBoundingClientRect();
  return [...document.querySelectorAll(places)].filter((each) => {
    const at = each.getBoundingClientRect();
    return at.width && at.right > over.left && at.left < over.right && at.bottom > over.top && at.top < over.bottom;
  }).map((each) => `${each.tagName} ${each.textContent.trim().slice(0, 40)}`);
})
"""
SAY = """
(words) => import(document.querySelector('script[src*="/shell"]').src).then((shell) => shell.toast(...words))
"""


@pytest.fixture(params=[(1280, 900), (1280, 600), (390, 844)], ids=["desktop", "low window", "phone"])
def operator(request, window):
    width, height = request.param
    page = window("operator", viewport={"width": width, "height": height})
    page.clock.install()
    return page


def test_what_was_done_is_said_beside_the_page_and_goes_by_itself(operator):
    operator.goto("/runs/new/kpi-tracking/")
    operator.get_by_label("Month").fill("2026-07")
    operator.get_by_role("button", name="Start the run").click()
    toast = operator.locator("#toasts .toast")
    expect(toast).to_have_text("Started kpi-tracking.")
    expect(toast).to_be_in_viewport(ratio=1)
    is_low = operator.viewport_size["height"] < 640  # there it lies over the end of the rail
    assert operator.evaluate(UNDER, "main *" if is_low else "main *, nav a, nav summary") == []
    operator.clock.fast_forward(AWAY_AFTER_MS)
    expect(toast).to_have_count(0)


def test_what_went_wrong_stays_until_it_is_dismissed(operator):
    operator.goto("/deliverables/")
    operator.evaluate(SAY, ["Copied.", "good"])
    operator.evaluate(SAY, ["That did not go well.", "bad"])
    toasts = operator.locator("#toasts .toast")
    expect(toasts).to_have_count(2)
    operator.clock.fast_forward(3 * AWAY_AFTER_MS)
    expect(toasts).to_have_text(["That did not go well."])
    toasts.get_by_role("button", name="Dismiss").click()
    expect(toasts).to_have_count(0)


def test_a_toast_stays_while_one_is_at_it(operator):
    operator.goto("/deliverables/")
    operator.evaluate(SAY, ["Copied.", "good"])
    toast = operator.locator("#toasts .toast")
    toast.get_by_role("button", name="Dismiss").focus()
    operator.clock.fast_forward(AWAY_AFTER_MS)
    expect(toast).to_have_count(1)
    operator.locator("main").focus()
    operator.clock.fast_forward(AWAY_AFTER_MS)
    expect(toast).to_have_count(0)


def test_a_page_of_which_nothing_else_moves_keeps_up_its_counts(window, waiting):
    page = window("approver")
    page.goto("/settings/")
    expect(page.locator("#live")).to_have_text("Live")
    count = page.locator("#count-pagesapprovals")
    before = int(count.inner_text().split()[0] or 0)
    waiting()
    expect(count).to_contain_text(str(before + 1))
