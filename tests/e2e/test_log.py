"""The log as one reads it: it follows, it waits for the reader, and every line has an address."""

import re

import pytest
from playwright.sync_api import expect

from orchestration.models import LogHead, Run
from tests.e2e.test_main_job import stays

TALKING = "name: talking\nsteps:\n  speaks: {agent: echo}\n  answers: {agent: echo, needs: [speaks]}\n"
LIVELY = "name: lively\nsteps:\n  first: {agent: echo, with: {lines: 300, seconds: 2}}\n" + "".join(
    f"  s{n}: {{agent: echo, needs: [{before}], with: {{lines: 300, seconds: 0.5}}}}\n"
    for n, before in enumerate(("first", "s0", "s1"))
)
AT_END = "e => e.scrollHeight - e.scrollTop - e.clientHeight < 8"
# Two frames later all that came into sight has its height.
SETTLED = """() => new Promise(done => {
    requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true))));
})"""
SCROLLED = """e => {
    window.scrolled = new Promise(done => e.addEventListener("scrollend", () => done(true), { once: true }));
}"""
# What is at the top of the frame, and how far below its edge.
READ = """e => {
    const { left, top } = e.getBoundingClientRect();
    const item = document.elementFromPoint(left + 30, top + 12).closest("li");
    return [item.id, Math.round(item.getBoundingClientRect().top - top)];
}"""


@pytest.fixture(scope="module")
def talking(client, ended, say):
    """A run that has ended and said nothing; what it says then is the test's: `talking(lines)` gives its id."""
    client("builder").post("definitions/", {"text": TALKING, "file": "talking.yaml"})

    def talking(*lines):
        run = client("operator").post("runs/", {"definition": "talking", "input": {}})["id"]
        ended(run)
        say(run, lines)
        return run

    return talking


def many(count, word="line"):
    return [f"{word} {number}" for number in range(1, count + 1)]


@pytest.fixture
def opened(window):
    """The log of a run, in a window: `opened(run, "?level=error")`."""

    def opened(run, query=""):
        page = window("operator")
        page.goto(f"/runs/{run}/log/{query}")
        expect(page.locator("#live")).to_have_text("Live")
        return page

    return opened


def box(page):
    return page.locator("#log")


def line(page, number):
    return page.locator(f"#L{number}")


def follow(page):
    return page.locator("#log-follow")


def is_at_end(page):
    page.wait_for_function(f"({AT_END})(document.getElementById('log'))")
    return True


def read(page):
    page.evaluate(SETTLED)
    return box(page).evaluate(READ)


def scroll(page, by):
    """As a wheel does; it stands still when this returns."""
    box(page).hover()
    box(page).evaluate(SCROLLED)
    page.mouse.wheel(0, by)
    page.evaluate("window.scrolled")
    page.evaluate(SETTLED)


def test_it_follows_a_run_that_speaks(client, window, ended):
    client("builder").post("definitions/", {"text": LIVELY, "file": "lively.yaml"})
    run = client("operator").post("runs/", {"definition": "lively", "input": {}})["id"]
    page = window("operator")
    page.goto(f"/runs/{run}/log/")
    has_stayed = stays(page)
    expect(page.locator("#run-head")).to_contain_text("Completed")
    ended(run)
    expect(line(page, LogHead.objects.get(pk=Run.objects.get(public_id=run).pk).number)).to_be_in_viewport()
    expect(page.locator("#log-state")).to_contain_text("1,200 lines")
    numbers = page.locator("#log li").evaluate_all("all => all.map(li => Number(li.id.slice(1)))")
    assert numbers == list(range(numbers[0], 1201))
    assert is_at_end(page)
    assert has_stayed()


def test_it_stays_where_the_reader_scrolled_up_and_leads_back_to_what_is_new(talking, opened, say):
    run = talking(*many(600))
    page = opened(run)
    assert is_at_end(page)
    expect(follow(page)).to_be_hidden()
    scroll(page, -3000)
    here = read(page)
    say(run, many(38, "new"))
    expect(follow(page)).to_have_text("38 new lines")
    say(run, many(2, "newer"))
    expect(follow(page)).to_have_text("40 new lines")
    assert read(page) == here
    follow(page).click()
    expect(line(page, 640)).to_be_in_viewport()
    expect(follow(page)).to_be_hidden()
    say(run, many(100, "last"))
    expect(line(page, 740)).to_be_in_viewport()
    assert is_at_end(page)


def test_it_follows_again_when_the_reader_scrolls_to_the_end(talking, opened, say):
    run = talking(*many(600))
    page = opened(run)
    scroll(page, -500)
    say(run, ["new"])
    expect(follow(page)).to_have_text("1 new line")
    scroll(page, 5000)
    expect(follow(page)).to_be_hidden()
    say(run, many(5, "more"))
    expect(line(page, 606)).to_be_in_viewport()


def test_older_lines_come_above_and_what_is_read_stays(talking, opened):
    page = opened(talking(*(f"line {n} " + "wide " * (n % 7 * 40) for n in range(1, 1201))))
    scroll(page, -20_000)
    for first in (201, 1):
        here = read(page)
        page.locator("#log-older").click()
        expect(line(page, first)).to_be_attached()
        assert read(page) == here
    expect(page.locator("#log-older")).to_be_hidden()
    box(page).evaluate("e => { e.scrollTop = 0; }")
    expect(line(page, 1)).to_be_in_viewport()
    assert page.locator("#log li").count() == 1200


@pytest.mark.parametrize("number", [20, 777, 1999])
def test_the_address_of_a_line_opens_at_it(number, talking, opened, say):
    run = talking(*many(2000))
    page = opened(run, f"#L{number}")
    expect(line(page, number)).to_be_in_viewport(ratio=1)
    expect(line(page, number)).to_contain_text(f"line {number}")
    here = read(page)
    say(run, many(3, "new"))
    expect(follow(page)).to_have_text("3 new lines")
    assert read(page) == here
    follow(page).click()
    expect(line(page, 2003)).to_be_in_viewport()
    assert is_at_end(page)


def test_the_number_of_a_line_is_its_address(talking, opened):
    page = opened(talking(*many(700)))
    scroll(page, -4000)
    here, _ = read(page)
    number = int(here[1:]) + 5
    line(page, number).locator(".n").click()
    assert page.url.endswith(f"#L{number}")
    assert read(page)[0] == here
    page.reload()
    expect(line(page, number)).to_be_in_viewport(ratio=1)


def test_a_line_that_is_not_there_is_no_riddle(talking, opened):
    page = opened(talking("only"), "#L99")
    expect(line(page, 1)).to_be_in_viewport()


def test_search_has_the_true_count_and_leads_from_one_to_the_next(talking, opened):
    hay = [f"{'needle' if n % 500 == 3 else 'hay'} {n}" for n in range(1, 2001)]
    page = opened(talking(*hay))
    page.get_by_label("Search", exact=True).fill("NEEDLE")
    page.get_by_role("button", name="Show").click()
    found = page.locator(".log-bar [role=status]", has_text="NEEDLE")
    for place, number in enumerate((3, 503, 1003, 1503), 1):
        expect(found).to_have_text(f"“NEEDLE” in line {place} of 4")
        expect(line(page, number)).to_be_in_viewport(ratio=1)
        expect(line(page, number).locator("mark")).to_have_text("needle")
        if place < 4:
            page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("link", name="Next")).to_have_count(0)
    page.get_by_role("link", name="Previous").click()
    expect(found).to_have_text("“NEEDLE” in line 3 of 4")
    expect(line(page, 1003)).to_be_in_viewport(ratio=1)


def test_levels_and_steps_are_filtered_and_so_is_what_is_new(talking, opened, say):
    run = talking(("debug", "a"), "b", ("warning", "c"), ("error", "d"))
    say(run, ["e", ("error", "f")], key=2)
    page = opened(run)
    page.get_by_label("Level").select_option("Errors")
    page.get_by_role("button", name="Show").click()
    texts = page.locator("#log .text")
    expect(texts).to_have_text(["error d", "error f"])
    page.get_by_label("Step").select_option("answers")
    page.get_by_role("button", name="Show").click()
    expect(texts).to_have_text(["error f"])
    expect(page.locator("#live")).to_have_text("Live")
    say(run, ["g", ("error", "h")])
    say(run, ["i", ("error", "j")], key=2)
    expect(texts).to_have_text(["error f", "error j"])
    expect(page.locator("#log-state [role=status]")).to_have_text("4 errors")


def test_the_first_error_is_a_click_away(talking, opened):
    run = talking(*many(1000), ("error", "here it broke"), *many(1500))
    page = opened(run)
    page.get_by_role("link", name="First error").click()
    expect(line(page, 1001)).to_be_in_viewport(ratio=1)
    scroll(page, 2000)
    has_stayed = stays(page)
    page.get_by_role("link", name="First error").click()
    expect(line(page, 1001)).to_be_in_viewport(ratio=1)
    assert has_stayed()


def test_lines_wrap_or_do_not_as_this_reader_likes(talking, opened):
    run = talking("wide " * 200, *many(80))
    page = opened(run)
    wide = "e => e.scrollWidth > e.clientWidth"
    box(page).evaluate("e => { e.scrollTop = 0; }")
    assert not box(page).evaluate(wide)
    page.get_by_role("button", name="Wrap").click()
    assert box(page).evaluate(wide)
    page.reload()
    expect(page.get_by_role("button", name="Wrap")).to_have_attribute("aria-pressed", "false")
    box(page).evaluate("e => { e.scrollTop = 0; }")
    expect(line(page, 1)).to_be_in_viewport()
    assert box(page).evaluate(wide)
    page.get_by_role("button", name="Wrap").click()
    assert not box(page).evaluate(wide)


def test_a_long_line_is_cut_and_opened_in_place(talking, opened):
    page = opened(talking("x" * 4_000 + " the \x1b[31mend\x1b[0m", "short"), "?q=the")
    expect(line(page, 1)).not_to_contain_text("the end")
    has_stayed = stays(page)
    line(page, 1).get_by_role("link", name=re.compile("more")).click()
    expect(line(page, 1)).to_contain_text("the end")
    expect(line(page, 1).locator("mark")).to_have_text("the")
    expect(line(page, 1).locator(".ansi-red")).to_have_text("end")
    assert has_stayed()


def test_all_of_it_is_downloaded(talking, opened):
    page = opened(talking(*many(2500), ("error", "\x1b[31mlast\x1b[0m")))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    text = download.value.path().read_text()
    assert [row.rpartition("line ")[2] for row in text.splitlines()[:2500]] == [str(n) for n in range(1, 2501)]
    assert text.splitlines()[2500].endswith("last")


def test_it_is_read_without_scripts(talking, window):
    page = window("viewer", java_script_enabled=False)
    page.goto(f"/runs/{talking(*many(1200), ('error', 'broke'))}/log/")
    expect(page.locator("#log li")).to_have_count(500)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#log li").first).to_have_attribute("id", "L202")
    page.get_by_role("link", name="Newest").click()
    page.get_by_role("link", name="First error").click()
    expect(line(page, 1201)).to_be_attached()
    expect(page.get_by_role("button", name="Wrap")).to_be_hidden()
