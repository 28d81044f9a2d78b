"""Figures as a person's browser has them: printed, for docs/performance.md tells what they were. What is asserted is
what no busy machine changes: that all of it is there, without a reload, and how much the page holds."""

import statistics

import pytest
from playwright.sync_api import expect

from orchestration.models import Event, Run
from simulators.sample import large_definition, say
from tests.e2e.test_log import AT_END, SETTLED
from tests.e2e.test_main_job import head, id_of

SLOW = "name: slow\nsteps:\n  s0: {agent: echo, with: {value: 0, seconds: 0.4}}\n" + "".join(
    f"  s{n}: {{agent: echo, needs: [s{n - 1}], with: {{value: {n}, seconds: 0.4}}}}\n" for n in range(1, 8)
)
LINES, MOST_LINES, FRAMES = 5000, 20_000, 300
LONG_TASKS = """() => {
    window.long = [];
    new PerformanceObserver(seen => seen.getEntries().forEach(task => window.long.push(Math.round(task.duration))))
        .observe({ type: "longtask" });
}"""
THROUGH = f"""async () => {{
    const box = document.getElementById("log");
    for (let n = 0; n <= {FRAMES}; n++) {{
        box.scrollTop = (box.scrollHeight - box.clientHeight) * n / {FRAMES};
        await new Promise(requestAnimationFrame);
    }}
}}"""
# When each step was first seen as completed, by the browser's clock.
WATCH = """() => {
    window.seen = {};
    const look = () => document.querySelectorAll("[data-step][data-status], tr [data-status]").forEach((e) => {
        const step = e.dataset.step || e.closest("tr").querySelector("[data-step]").dataset.step;
        if (e.dataset.status === "completed") window.seen[step] ??= Date.now();
    });
    look();
    new MutationObserver(look).observe(document.querySelector("main"),
        {subtree: true, childList: true, attributes: true, characterData: true});
    return Object.keys(window.seen);
}"""


def tell(capsys, words):
    with capsys.disabled():
        print(f"\n{words}")  # noqa: T201  a figure


def test_an_event_is_on_the_screen_soon(window, client, ended, capsys):
    client("builder").post("definitions/", {"text": SLOW, "file": "slow.yaml"})
    page = window("operator")
    page.goto("/runs/new/slow/")
    page.get_by_role("button", name="Start the run").click()
    already = page.evaluate(WATCH)
    expect(head(page)).to_contain_text("Completed")
    run = ended(id_of(page))
    names = dict(run.steps.values_list("key", "name"))
    seen = {name: at for name, at in page.evaluate("window.seen").items() if name not in already}
    late = [
        seen[names[event.key]] - event.at.timestamp() * 1000
        for event in Event.objects.filter(run=run, type="step.completed")
        if names[event.key] in seen
    ]
    tell(capsys, f"An event is on the screen after {statistics.median(late):.0f} ms, the median of {len(late)}.")
    assert {*already, *seen} == set(names.values())


def test_a_run_of_200_steps_and_5000_lines_opens_soon(window, client, ended, capsys):
    client("builder").post("definitions/", {"text": large_definition(), "file": "large.yaml"})
    run = client("operator").post("runs/", {"definition": "large", "input": {}})["id"]
    ended(run)
    say(Run.objects.get(public_id=run), LINES)
    page = window("operator")
    for path, sign in ((f"/runs/{run}/", "l19_s9"), (f"/runs/{run}/log/", f"line {LINES - 1}")):
        taken = []
        for _ in range(5):
            page.goto(path)
            expect(page.locator("main")).to_contain_text(sign)
            taken.append(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
        tell(capsys, f"{path.replace(run, 'ID')} of 200 steps and {LINES} lines is there after {min(taken):.0f} ms.")
    assert page.locator("#log li").count() == 500
    page.goto(f"/runs/{run}/?view=graph")
    assert page.locator("#graph .node").count() == 200


@pytest.fixture
def bare(browser, browser_context_args, states):
    """A window of the operator that nothing records: the recorder reads the whole page after each step of a test."""
    context = browser.new_context(**browser_context_args, storage_state=states("operator"))
    yield context.new_page()
    context.close()


class Work:
    """What the main thread of a page does, in ms of its own time: whatever else the processors do meanwhile."""

    def __init__(self, page):
        self.page, self.session = page, page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.evaluate(LONG_TASKS)
        self.since()

    def since(self):
        """(ms of all tasks, ms of style and layout among them, lengths of long tasks) since it was asked before."""
        now = {each["name"]: each["value"] * 1000 for each in self.session.send("Performance.getMetrics")["metrics"]}
        before, self.now = getattr(self, "now", now), now
        spent = {name: now[name] - before[name] for name in now}
        drawn = spent["RecalcStyleDuration"] + spent["LayoutDuration"]
        return spent["TaskDuration"], drawn, self.page.evaluate("window.long.splice(0)")


def test_a_log_of_20000_lines_is_followed_and_scrolled(bare, site, begin, client, ended, say, capsys):
    client("builder").post("definitions/", {"text": "name: still\nsteps: {s: {agent: echo}}\n", "file": "still.yaml"})
    run = begin("still", {"any": "thing"})
    ended(run)
    bare.goto(f"{site.url}/runs/{run}/log/")
    work, there = Work(bare), 0

    def more(count):
        nonlocal there
        say(run, [f"\x1b[36mbatch {n}\x1b[0m: 25 rows of the import were written in 33 ms" for n in range(count)])
        there += count
        bare.wait_for_function("id => document.getElementById(id)", arg=f"L{there}", polling=100)
        bare.evaluate(SETTLED)
        return work.since()

    for _ in range(40):
        more(500)
    assert bare.locator("#log li").count() <= MOST_LINES
    for count in (1, 100, 500):
        spent = [more(count) for _ in range(10)]
        tasks, drawn = (statistics.median(each[place] for each in spent) for place in (0, 1))
        long = [task for each in spent for task in each[2]]
        words = (
            f"{count} lines more at {MOST_LINES}: {tasks:.0f} ms of the main thread, {drawn:.0f} of style and layout"
        )
        tell(capsys, f"{words} (median of 10); tasks of over 50 ms: {long}.")
    assert MOST_LINES - 100 <= bare.locator("#log li").count() <= MOST_LINES
    bare.evaluate(THROUGH)
    tasks, drawn, long = work.since()
    tell(capsys, f"Scrolled through in {FRAMES} frames: {tasks / FRAMES:.1f} ms a frame; tasks of over 50 ms: {long}.")
    assert bare.locator("#log").evaluate(AT_END)
