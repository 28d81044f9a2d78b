"""The main job: one person starts a run and watches, another one answers its question, both read the report."""

import re

import pytest
from playwright.sync_api import expect

from approvals.models import Decision
from orchestration.models import Step


def id_of(page):
    return re.search(r"run_\w+", page.url)[0]


def stays(page):
    """A mark that a reload would wipe off; gives what tells whether it is there."""
    page.evaluate("window.stayed = true")
    return lambda: page.evaluate("window.stayed === true")


def head(page):
    return page.locator("#run-head")


def open_question(approver, run):
    """From anywhere through the inbox, as people get there."""
    approver.get_by_role("navigation", name="Site").get_by_role("link", name="Approvals").click()
    approver.locator("tr", has=approver.locator(f"a[href='/runs/{run}/']")).locator("a.row").click()
    expect(approver.get_by_role("heading", level=1)).to_contain_text("KPI figures for")


def choose(page, words):
    page.locator(".decision-bar").get_by_role("button", name=words).click()


def figure(page):
    """The first number that a reviewer may change."""
    return page.locator("#payload td.number [data-was]").first


def row_of(page, column):
    """The first row's cell of the payload in this column."""
    return page.locator(f"#payload td[data-label='{column}']").first


def number(cell):
    return float(re.search(r"-?[0-9,.]+", cell.inner_text())[0].replace(",", ""))


def test_two_people_take_a_run_from_its_form_to_its_report(window, ended):
    operator, approver = window("operator"), window("approver")
    approver.goto("/")
    before = int(approver.locator("#count-pagesapprovals").inner_text().split()[0] or 0)

    operator.goto("/runs/")
    operator.get_by_role("link", name="Start a run").first.click()
    operator.get_by_role("link", name="kpi-tracking").click()
    operator.get_by_label("Month").fill("2026-09")
    operator.get_by_role("button", name="Start the run").click()
    expect(head(operator)).to_contain_text("Waiting for approval")
    run, has_stayed = id_of(operator), stays(operator)

    approver.goto("/")
    expect(approver.locator("#count-pagesapprovals")).to_contain_text(str(before + 1))
    open_question(approver, run)
    was = figure(approver).input_value()
    figure(approver).fill("123456")
    expect(approver.locator("#changed")).to_have_text("1 change")
    month_before = number(row_of(approver, "Month before"))
    change = f"{100 * (123456 - month_before) / month_before:.1f}"
    expect(row_of(approver, "Change in percent").locator("output ins")).to_have_text(f"now: {change}")
    approver.get_by_label("Note").fill("The last invoice was missing")
    choose(approver, "Approve and continue")
    expect(approver.locator("#outcome")).to_contain_text("Approve and continue, by approver")
    expect(approver.locator("#outcome")).to_contain_text("The last invoice was missing")
    expect(approver.locator("#outcome")).to_contain_text("Amount of Revenue")
    expect(approver.locator("#outcome")).to_contain_text("123,456")
    expect(approver.locator("#outcome")).to_contain_text(f"{int(was):,}")
    expect(row_of(approver, "Amount").locator("ins")).to_contain_text("123,456")
    expect(row_of(approver, "Amount").locator("del")).to_contain_text(f"{int(was):,}")
    expect(row_of(approver, "Change in percent").locator("ins")).to_contain_text(change)
    approver.set_viewport_size({"width": 1280, "height": 800})
    who = approver.locator("#history td[data-label=Who] bdi")
    assert who.evaluate("word => word.getClientRects().length") == 1  # not broken in the middle
    expect(approver.locator("#what-next")).to_contain_text("Completed")

    expect(head(operator)).to_contain_text("Completed")
    assert has_stayed()
    approver.locator("#what-next").get_by_role("link", name="KPI report 2026-09").click()
    report = approver.locator("article.report")
    revenue = report.get_by_role("row", name="Revenue").get_by_role("cell")
    assert number(revenue.nth(3)) == month_before
    expect(revenue.nth(1)).to_have_text("123,456\N{NO-BREAK SPACE}EUR", use_inner_text=True)
    expect(revenue.nth(4)).to_have_text(f"{change}\N{NO-BREAK SPACE}%", use_inner_text=True)
    changed = f"Amount of Revenue {int(was):,} → 123,456, changed by approver at the checkpoint check"
    expect(approver.locator("#changed-by-people")).to_contain_text(changed)
    with approver.expect_download() as download:
        approver.get_by_role("link", name="Download").click()
    text = download.value.path().read_text()
    assert download.value.suggested_filename.endswith(".md")
    assert re.search("123.?456", text)
    assert ended(run).status == "completed"


def test_work_sent_back_with_a_note_comes_again_on_both_pages(window, begin, ended):
    operator, approver = window("operator"), window("approver")
    run = begin()
    operator.goto(f"/runs/{run}/")
    has_stayed = stays(operator)
    expect(head(operator)).to_contain_text("Waiting for approval")
    approver.goto("/")
    open_question(approver, run)
    choose(approver, "Retry")
    expect(approver.get_by_label("Note")).to_be_focused()  # the browser asks for it, and nothing is sent
    approver.get_by_label("Note").fill("September, please")
    choose(approver, "Retry")
    expect(approver.locator("#outcome")).to_contain_text("Retry, by approver")
    approver.locator("#what-next").get_by_role("link", name="KPI figures for 2026-10").click()
    expect(approver.locator("#earlier")).to_contain_text("September, please")
    choose(approver, "Approve and continue")
    expect(approver.locator("#what-next")).to_contain_text("Completed")
    expect(head(operator)).to_contain_text("Completed")
    assert has_stayed()
    found = ended(run)
    assert found.status == "completed"
    assert set(Step.objects.filter(run=found, name="figures").values_list("round", flat=True)) == {1, 2}


def test_an_abort_ends_the_run_on_both_pages(window, waiting, ended):
    operator, approver = window("operator"), window("approver")
    run, request = waiting()
    operator.goto(f"/runs/{run}/")
    has_stayed = stays(operator)
    approver.goto(f"/a/{request['id']}")
    approver.get_by_label("Note").fill("Not this year")
    choose(approver, "Abort")
    expect(approver.locator("#outcome")).to_contain_text("Abort, by approver")
    expect(head(operator)).to_contain_text("Rejected")
    expect(operator.locator("#run-sentence")).to_contain_text("Not this year")
    assert has_stayed()
    assert ended(run).status == "rejected"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_field_shows_nine_digits_with_decimals(window, waiting, width):
    approver = window("approver", viewport={"width": width, "height": 800})
    _, request = waiting()
    approver.goto(f"/a/{request['id']}")
    if width < 720:
        approver.locator(".fold summary").first.press("Enter")
    figure(approver).fill("123456789.25")
    assert figure(approver).evaluate("field => field.scrollWidth <= field.clientWidth")
    assert approver.evaluate("document.documentElement.scrollWidth") == width


def test_a_number_is_told_with_its_thousands_parted_as_it_is_typed(window, waiting):
    approver = window("approver")
    _, request = waiting()
    approver.goto(f"/a/{request['id']}")
    was = figure(approver).input_value()
    more = row_of(approver, "Amount").locator(".place-more")
    expect(more).to_have_text(f"{int(was):,}")
    expect(more).to_have_attribute("aria-live", "polite")
    figure(approver).fill("250000")
    expect(more).to_have_text(f"{int(was):,} → 250,000")
    figure(approver).fill(was)
    expect(more).to_have_text(f"{int(was):,}")


def test_what_cannot_be_worked_out_any_more_is_not_shown_as_if_it_were(window, waiting):
    approver = window("approver")
    _, request = waiting()
    approver.goto(f"/a/{request['id']}")
    follows = row_of(approver, "Change in percent").locator("output")
    figure(approver).fill("")
    expect(row_of(approver, "Amount").locator(".error")).not_to_be_empty()
    expect(follows).to_have_class(re.compile("is-old"))
    figure(approver).fill("250000")
    expect(follows).not_to_have_class(re.compile("is-old"))
    expect(follows.locator("ins")).not_to_be_empty()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_what_approving_does_is_in_sight_beside_the_buttons(window, waiting, width, height):
    approver = window("approver", viewport={"width": width, "height": height})
    _, request = waiting()
    approver.goto(f"/a/{request['id']}")
    expect(approver.locator("#brief")).to_have_text(
        "Approving starts summary (by summarizer), with what you see here and your changes."
    )
    expect(approver.locator("#brief")).to_be_in_viewport(ratio=1)


def test_note_and_buttons_are_in_sight_at_once(window, waiting):
    approver = window("approver", viewport={"width": 1360, "height": 800})
    _, request = waiting()
    approver.goto(f"/a/{request['id']}")
    expect(approver.get_by_label("Note")).to_be_in_viewport(ratio=1)
    for button in approver.locator(".decision-bar").get_by_role("button").all():
        expect(button).to_be_in_viewport(ratio=1)
    expect(figure(approver)).to_be_in_viewport(ratio=1)


def test_going_back_on_a_runs_page_is_a_reload_and_nothing_is_put_into_the_old_page(window, waiting, troubles):
    run, _ = waiting()
    page = window("operator")
    page.goto(f"/runs/{run}/")
    for step in ("figures", "summary"):
        page.locator(f"[data-step='{step}']").first.click()
        page.wait_for_url(f"**step={step}*")
        expect(page.locator("#step-title")).to_contain_text(step)
    asked = []
    page.on("request", lambda request: asked.append(request.resource_type))
    page.route(f"**/runs/{run}/?step=figures", leave_the_page)
    with page.expect_request(lambda request: request.is_navigation_request()):
        page.go_back()
    page.evaluate("new Promise(requestAnimationFrame)")
    assert "fetch" not in asked  # a page that came that way has styles of another nonce, which this one refuses
    page.unroute_all()
    page.reload()
    expect(page.locator("#step-title")).to_contain_text("figures")
    assert troubles.found == []


def leave_the_page(route, request):
    """A reload that is never answered leaves the old page where it is."""
    route.fulfill(status=204) if request.is_navigation_request() else route.continue_()


def test_on_a_phone_the_question_is_found_and_answered(phone, waiting, ended):
    approver = phone("approver")
    run, _ = waiting()
    approver.goto("/")
    open_question(approver, run)
    bar = approver.locator(".decision-bar")
    expect(bar).to_be_in_viewport()
    for button in bar.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 48
    assert approver.evaluate("document.documentElement.scrollWidth") == 390
    choose(approver, "Retry")
    note = approver.locator("#note")
    expect(note).to_be_focused()
    lowest = note.bounding_box()["y"] + note.bounding_box()["height"]
    assert lowest <= bar.bounding_box()["y"]  # what is asked for is seen
    expect(figure(approver)).to_be_hidden()
    approver.locator(".fold summary").first.press("Enter")
    figure(approver).fill("99")
    approver.locator(".fold summary").first.press("Enter")  # folded again, it is sent all the same
    expect(figure(approver)).to_be_hidden()
    expect(approver.locator(".fold summary").first).to_contain_text("→ 99")
    assert approver.evaluate("document.documentElement.scrollWidth") == 390
    choose(approver, "Approve and continue")
    expect(approver.locator("#outcome")).to_contain_text("Approve and continue, by approver")
    assert ended(run).status == "completed"


def test_without_javascript_a_question_is_read_and_answered(window, waiting, ended):
    approver = window("approver", java_script_enabled=False)
    run, _ = waiting()
    approver.goto("/")
    open_question(approver, run)
    figure(approver).fill("77")
    choose(approver, "Approve and continue")
    expect(approver.locator("#outcome")).to_contain_text("Approve and continue, by approver")
    assert ended(run).status == "completed"
    approver.reload()
    approver.locator("#what-next").get_by_role("link", name="KPI report 2026-10").click()
    expect(approver.locator("article.report")).to_contain_text("77")
    approver.goto(f"/runs/{run}/")
    expect(head(approver)).to_contain_text("Completed")


def test_without_javascript_a_run_is_started(window, troubles):
    troubles.expected("400")
    operator = window("operator", java_script_enabled=False)
    operator.goto("/runs/new/kpi-tracking/")
    assert operator.get_by_label("Month").get_attribute("type") == "month"
    operator.get_by_label("Month").evaluate("field => { field.type = 'text' }")  # as a browser that knows no months
    operator.get_by_label("Month").fill("soon")
    operator.get_by_role("button", name="Start the run").click()
    expect(operator.locator(".has-error")).to_contain_text("form")
    expect(operator.get_by_label("Month")).to_have_value("soon")
    operator.get_by_label("Month").fill("2026-08")
    operator.get_by_role("button", name="Start the run").click()
    expect(head(operator)).to_be_visible()


def test_who_may_not_decide_is_told_so_and_who_may(window, waiting):
    _, request = waiting()
    viewer = window("viewer")
    viewer.goto(f"/approvals/{request['id']}/")
    expect(viewer.locator("#why-not")).to_contain_text("approver")
    expect(viewer.locator(".decision-bar")).to_have_count(0)


def test_a_form_sent_twice_decides_once(window, waiting):
    _, request = waiting()
    first, second = window("approver"), window("approver")
    for page in (first, second):
        page.goto(f"/approvals/{request['id']}/")
    choose(first, "Approve and continue")
    expect(first.locator("#outcome")).to_be_visible()
    choose(second, "Approve and continue")
    expect(second.locator("#outcome")).to_contain_text("Approve and continue, by approver")
    assert Decision.objects.filter(request__public_id=request["id"]).count() == 1


def test_a_question_decided_elsewhere_says_so_and_keeps_what_was_typed(window, waiting, decide):
    _, request = waiting()
    page = window("approver")
    page.goto(f"/approvals/{request['id']}/")
    page.get_by_label("Note").fill("I was too slow")
    decide(request)
    expect(page.locator("#taken")).to_contain_text("has decided meanwhile")
    expect(page.get_by_label("Note")).to_have_value("I was too slow")


def test_the_second_organization_sees_nothing_of_the_first(window, finish_one, waiting, client, troubles):
    troubles.expected("404")
    run, request = waiting()
    report = client("operator").get(f"deliverables/?run={finish_one()}")["results"][0]["id"]
    nora = window("nora")
    for path in (f"/runs/{run}/", f"/approvals/{request['id']}/", f"/a/{request['id']}", f"/deliverables/{report}/"):
        assert nora.goto(path).status == 404
    for path in ("/", "/runs/", "/approvals/?tab=all", "/approvals/?tab=done", "/deliverables/"):
        nora.goto(path)
        for theirs in (run, request["id"], report, "KPI figures", "KPI report"):
            expect(nora.locator("main")).not_to_contain_text(theirs)
