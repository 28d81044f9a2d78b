"""Pages move by themselves, over every interruption, and lose nothing."""

import re

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from accounts.models import Member
from approvals.models import Request
from orchestration.models import Event
from tests.e2e.test_main_job import choose, figure, head, stays
from tests.harness import until

ENDS = {"continue": "Completed", "abort": "Rejected", "retry": "Waiting for approval"}


def live(page):
    return page.locator("#live")


def decide_by_row(request, choice):
    """As any door does, while there is no web process to ask."""
    approver = Member.objects.get(user__username="approver")
    note = "" if choice == "continue" else "Once more, with care"
    row = Request.objects.get(public_id=request["id"])
    row.decide(by=approver, choice=choice, digest=row.digest, note=note)


@pytest.fixture
def cut(site):
    """Cut a page off from its news; gives what mends it."""
    mends = []

    def cut(page, how):
        if how == "web":
            site.stop_web()
            mends.append(site.start_web)
        elif how == "web killed":
            site.kill_web()
            mends.append(site.start_web)
        elif how == "valkey":
            site.kill_valkey()
            mends.append(site.start_valkey)
        else:
            page.context.set_offline(True)
            mends.append(lambda: page.context.set_offline(False))
        return lambda: mends.pop()()

    yield cut
    for mend in mends:
        mend()


@pytest.mark.parametrize("how", ["web", "web killed", "valkey", "offline"])
@pytest.mark.parametrize("choice", list(ENDS))
def test_a_page_catches_up_after_an_interruption_without_a_reload(how, choice, cut, window, waiting, troubles):
    troubles.expected()
    run, request = waiting()
    page = window("operator")
    page.goto(f"/runs/{run}/")
    expect(live(page)).to_have_text("Live")
    has_stayed = stays(page)
    mend = cut(page, how)
    if how != "valkey":  # the slow look goes on without it: the page notices nothing
        expect(live(page)).to_have_text("Reconnecting")
    decide_by_row(request, choice)
    until(lambda: Event.objects.filter(run__public_id=run, type="checkpoint.resolved").exists())
    mend()
    if choice == "retry":
        until(lambda: Request.objects.pending().of_run(run).exists())
        expect(page.locator("#step-panel")).to_contain_text("round 2 of 2")
    expect(head(page)).to_contain_text(ENDS[choice])
    expect(live(page)).to_have_text("Live")
    assert has_stayed()


def test_a_page_moves_while_valkey_is_away(cut, window, waiting, troubles):
    troubles.expected()
    run, request = waiting()
    page = window("operator")
    page.goto(f"/runs/{run}/")
    expect(live(page)).to_have_text("Live")
    mend = cut(page, "valkey")
    decide_by_row(request, "continue")
    expect(head(page)).to_contain_text("Completed")
    mend()


def test_what_is_typed_into_a_question_outlives_a_restart_and_can_be_sent(cut, window, waiting, ended, troubles):
    troubles.expected()
    run, request = waiting()
    page = window("approver")
    page.goto(f"/approvals/{request['id']}/")
    figure(page).fill("4711")
    page.get_by_label("Note").fill("Written before the restart")
    cut(page, "web")()
    expect(live(page)).to_have_text("Live")
    expect(page.get_by_label("Note")).to_have_value("Written before the restart")
    choose(page, "Approve and continue")
    expect(page.locator("#outcome")).to_contain_text("4,711")
    assert ended(run).status == "completed"


def test_the_list_of_runs_says_what_is_new_and_does_not_move_under_the_reader(window, begin):
    begin()
    page = window("operator")
    page.goto("/runs/")
    expect(live(page)).to_have_text("Live")
    first = page.locator("a.row").first.get_attribute("href")
    run = begin()
    expect(page.locator("#runs-news")).to_contain_text("new")
    assert page.locator("a.row").first.get_attribute("href") == first
    page.locator("#runs-news a").click()
    expect(page.locator("a.row").first).to_have_attribute("href", f"/runs/{run}/")


def test_a_session_that_ended_is_told_and_what_was_written_is_not_lost(window, waiting, sign_in, site, ended, troubles):
    troubles.expected()
    run, request = waiting()
    page = window(None)
    sign_in(page, "approver")
    page.goto(f"/approvals/{request['id']}/")
    expect(live(page)).to_have_text("Live")
    page.get_by_label("Note").fill("Written in the old session")
    (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"] == "sessionid"]
    Session.objects.filter(session_key=cookie["value"]).delete()
    choose(page, "Approve and continue")
    page.locator("input[name=login]").fill("approver")
    page.locator("input[name=password]").fill(site.passwords["approver"])
    page.get_by_role("button", name="Sign in").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("not sent yet")
    expect(page.locator("main")).to_contain_text("Written in the old session")
    page.get_by_role("button", name=re.compile("Send")).click()
    expect(page.locator("#outcome")).to_contain_text("Written in the old session")
    assert ended(run).status == "completed"


def test_a_page_left_open_says_when_its_session_has_ended(window, begin, sign_in, troubles):
    troubles.expected()
    run = begin()
    page = window(None)
    sign_in(page, "viewer")
    page.goto(f"/runs/{run}/")
    expect(live(page)).to_have_text("Live")
    (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"] == "sessionid"]
    Session.objects.filter(session_key=cookie["value"]).delete()
    expect(live(page)).to_contain_text("Signed out")
    expect(live(page).get_by_role("link", name="Sign in again")).to_be_visible()


def tops(page):
    """Where the rows of all lists stand, by their ids."""
    return page.locator("tr.row-link").evaluate_all(
        "rows => Object.fromEntries(rows.map(row => [row.id, row.getBoundingClientRect().top]))"
    )


def first_question(page):
    """The first that a page lists: others than this test's may be due before."""
    return Request.objects.get(public_id=page.locator("tr.row-link[id^=req_]").first.get_attribute("id"))


@pytest.mark.parametrize("width", [1360, 390])
@pytest.mark.parametrize("path", ["/", "/approvals/"])
def test_rows_stay_where_they_are_and_say_what_became_of_them_elsewhere(window, waiting, decide, ended, path, width):
    run, request = waiting()
    page = window("approver", viewport={"width": width, "height": 850})
    page.goto(path)
    expect(live(page)).to_have_text("Live")
    before, asked = tops(page), first_question(page)
    decide({"id": asked.public_id, "digest": asked.digest})
    ended(asked.run)
    if asked.run != run:
        decide(request)
        ended(run)
    waiting()
    expect(page.locator(f"#{asked.public_id}")).to_contain_text("by approver")
    if path == "/":
        expect(page.locator(f"#{run}")).to_contain_text("Completed")
        expect(page.locator("#runs-news")).to_contain_text("new")
    expect(page.locator("#questions-news, #inbox-news")).to_contain_text("new")
    assert tops(page) == before


@pytest.mark.parametrize("tab", ["", "log/", "payload/"])
@pytest.mark.parametrize("news", ["by the socket", "by asking"])
def test_the_tabs_title_goes_with_the_run(tab, news, window, waiting, decide):
    run, request = waiting()
    page = window("operator")
    if news == "by asking":
        page.route_web_socket("**/ws/live*", lambda socket: socket.close())
    page.goto(f"/runs/{run}/{tab}")
    expect(page).to_have_title("kpi-tracking · Waiting for approval · Countersign")
    has_stayed = stays(page)
    decide(request)
    expect(page).to_have_title("kpi-tracking · Completed · Countersign")
    expect(head(page)).to_contain_text("Completed")
    assert has_stayed()
