"""Figures as a person's browser has them; docs/performance.md tells what they were. The limits here are wide: the
processors are busy."""

import statistics

from playwright.sync_api import expect

from orchestration.models import Event, Run
from simulators.sample import large_definition, say
from tests.e2e.test_main_job import head, id_of

SLOW = "name: slow\nsteps:\n  s0: {agent: echo, with: {value: 0, seconds: 0.4}}\n" + "".join(
    f"  s{n}: {{agent: echo, needs: [s{n - 1}], with: {{value: {n}, seconds: 0.4}}}}\n" for n in range(1, 8)
)
LINES = 5000
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
    assert len(late) >= 4
    assert statistics.median(late) < 2000


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
        assert min(taken) < 5000
