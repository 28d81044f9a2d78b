"""Keys, and names that nobody would choose."""

import pytest
from playwright.sync_api import expect

from accounts.models import Member, Organization
from tests.factories import MemberFactory, UserFactory
from tests.harness import until

HOSTILE = {
    "long": "W" * 200,
    "right to left": "تقرير الأرباح والخسائر \u202eabc\u202c للربع الأخير من السنة",
    "emoji": "👩🏽‍🚀🧾 Q4 🏳️‍🌈 " + "🔥" * 60,
    "html": "<img src=x onerror=alert(1)><script>alert(2)</script>'\"&amp;{{ 7*7 }}",
}
DEFINITION = """
name: hostile
description: "<b>bold</b> description, {{ braces }}"
input: {type: object, properties: {name: {type: string, title: "Name <i>in italics</i>"}}}
steps:
  words:
    agent: echo
    with: {value: "${{ input.name }}"}
  check:
    needs: [words]
    approval: {title: "${{ input.name }}", show: {words: "${{ steps.words.output.value }}", "key <b>": 1}}
  report:
    needs: [check]
    agent: echo
    with: {value: "${{ input.name }}"}
    deliverable: {name: report, title: "${{ input.name }}", content: "# ${{ input.name }}\\n[x](javascript:alert(3))"}
"""


@pytest.fixture(scope="module")
def hostile(site, client, decide, ended):
    """Runs, questions and reports with these names; gives {kind: (run, request, deliverable)}."""
    client("builder").post("definitions/", {"text": DEFINITION, "file": "hostile.yaml"})
    made = {}
    for kind, name in HOSTILE.items():
        run = client("operator").post("runs/", {"definition": "hostile", "input": {"name": name}})["id"]
        asked = until(lambda run=run: client("approver").get(f"approvals/?run={run}&status=pending")["results"])
        decide(asked[0])
        ended(run)
        (report,) = client("viewer").get(f"deliverables/?run={run}")["results"]
        made[kind] = (run, asked[0]["id"], report["id"])
        waits = client("operator").post("runs/", {"definition": "hostile", "input": {"name": name}})["id"]
        until(lambda run=waits: client("approver").get(f"approvals/?run={run}&status=pending")["results"])
    organization = Organization.objects.get(slug="global")
    for name in ("M" * 150, "مراجع‎الحسابات", "🧾🔥"):
        MemberFactory(organization=organization, user=UserFactory(username=name), roles=["viewer"])
    yield made
    Member.objects.filter(user__username__in=("M" * 150, "مراجع‎الحسابات", "🧾🔥")).delete()


def no_sideways_scroll(page):
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("width", [320, 1360])
def test_hostile_names_are_words_on_every_list(hostile, width, window):
    page = window("admin", viewport={"width": width, "height": 800})
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    for path in ("/", "/runs/", "/approvals/?tab=all", "/approvals/?tab=done", "/deliverables/", "/settings/members/"):
        page.goto(path)
        assert no_sideways_scroll(page), path
        assert page.locator("main img").count() == 0, path
    for path in ("/approvals/?tab=all", "/deliverables/"):
        page.goto(path)
        for name in HOSTILE.values():
            expect(page.locator("main")).to_contain_text(name)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names_break_no_page(hostile, kind, window, axe):
    page = window("approver", viewport={"width": 320, "height": 700})
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    run, request, report = hostile[kind]
    for path in (f"/runs/{run}/", f"/runs/{run}/payload/", f"/approvals/{request}/", f"/deliverables/{report}/"):
        page.goto(path)
        expect(page.locator("main")).to_contain_text(HOSTILE[kind][:60])
        assert no_sideways_scroll(page), path
        assert axe(page) == []
        assert page.locator("main img, main a[href^='javascript']").count() == 0, path


def test_the_palette_and_the_keys_lead_everywhere(window, begin):
    _, run = begin(), begin()
    page = window("operator")
    page.goto("/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs/")
    page.keyboard.press("j")
    expect(page.locator("a.row").nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("a.row").nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator("a.row").nth(0)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/run_*/")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Go to")).to_be_visible()
    page.keyboard.type("approv")
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals/")
    page.keyboard.press("Control+k")
    page.keyboard.type(run)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{run}/")


def test_the_palette_acts_by_keyboard(window, sign_in, begin):
    run = begin()
    page = window(None)  # a session of its own, which ends
    sign_in(page, "operator")
    palette = page.get_by_role("dialog", name="Go to")

    def act(words):
        page.keyboard.press("Control+k")
        expect(palette).to_be_visible()
        page.keyboard.type(words)
        page.keyboard.press("Enter")

    page.goto(f"/runs/{run}/")
    act("theme dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.wait_for_url(f"**/runs/{run}/")
    act("cancel")
    expect(page.get_by_role("dialog", name="Cancel: kpi-tracking")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(palette.get_by_role("button", name=f"Copy id {run}")).to_be_visible()
    expect(palette.get_by_role("link", name="Start a run of kpi-tracking")).to_be_visible()
    expect(palette.get_by_text("New definition")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    expect(palette.locator("li:first-child :is(a, button)")).to_be_focused()
    page.keyboard.press("Escape")
    act("start kpi-tra")
    page.wait_for_url("**/runs/new/kpi-tracking/")
    act("sign out")
    page.wait_for_url("**/accounts/login/**")


def test_keys_rest_while_one_types(window):
    page = window("operator")
    page.goto("/runs/new/kpi-tracking/")
    page.get_by_label("Month").evaluate("field => { field.type = 'text' }")  # as a browser that knows no months
    page.get_by_label("Month").focus()
    page.keyboard.type("gr?")
    expect(page.get_by_label("Month")).to_have_value("gr?")
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert "/runs/new/" in page.url
