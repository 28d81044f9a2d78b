"""Pages in the states they can be in, and those that say what is wrong, through axe."""

import pytest

from tests.harness import until

FAILING = """
name: failing
steps:
  works: {agent: echo, with: {value: 1}}
  fails: {agent: echo, needs: [works], with: {value: 1, fail: {kind: permanent, times: 9}}}
  after: {agent: echo, needs: [fails], with: {value: 2}}
"""


@pytest.fixture(scope="module")
def states_of(site, client, waiting, decide, ended, tried):
    """{state: address}"""
    client("builder").post("definitions/", {"text": FAILING, "file": "failing.yaml"})
    failed = client("operator").post("runs/", {"definition": "failing", "input": {}})["id"]
    trial = tried("summarizer", {"text": "Revenue rose by 4 %."})
    broken = tried("echo", {"lines": 20, "fail": {"kind": "permanent"}})
    open_run, open_request = waiting()
    again_run, again = waiting()
    decide(again, "retry", note="Once more")
    newer = until(lambda: client("approver").get(f"approvals/?run={again_run}&status=pending")["results"])[0]
    over_run, over = waiting()
    decide(over, "abort", note="No")
    for run in (failed, over_run):
        ended(run)
    return {
        "run that waits": f"/runs/{open_run}/",
        "run in its second round": f"/runs/{again_run}/?step=check",
        "run that failed": f"/runs/{failed}/",
        "run that failed, as a graph": f"/runs/{failed}/?view=graph",
        "run that failed, as a table": f"/runs/{failed}/?view=table",
        "run that was rejected": f"/runs/{over_run}/",
        "question of a second round": f"/approvals/{newer['id']}/",
        "question sent back": f"/approvals/{again['id']}/",
        "question answered": f"/approvals/{over['id']}/",
        "question open": f"/approvals/{open_request['id']}/",
        "agent tried out": f"/agents/summarizer/try/?run={trial}",
        "agent that failed when tried": f"/agents/echo/try/?run={broken}",
        "answered questions": "/approvals/?tab=done",
        "all questions": "/approvals/?tab=all",
        "runs, filtered to none": "/runs/?q=nothing-is-called-so",
        "definition that is not there": "/definitions/nothing/",
    }


def look(page, axe):
    wrong = []
    for width, scheme in ((1360, "dark"), (390, "light")):
        page.set_viewport_size({"width": width, "height": 850})
        page.emulate_media(color_scheme=scheme)
        wrong += [f"{width} {scheme}: {words}" for words in axe(page)]
    page.set_viewport_size({"width": 320, "height": 700})
    if page.evaluate("document.documentElement.scrollWidth") > 320:
        wrong.append("scrolls sideways at 320")
    return wrong


def test_every_state_suits_everybody(states_of, window, axe, troubles):
    troubles.expected("404")
    page = window("admin")
    wrong = {}
    for state, address in states_of.items():
        page.goto(address)
        wrong[state] = look(page, axe)
    assert not any(wrong.values()), "\n".join(f"{state}: {words}" for state, each in wrong.items() for words in each)


def test_empty_lists_suit_everybody(window, axe):
    page = window("nora")
    wrong = {}
    for address in ("/", "/runs/", "/approvals/", "/approvals/?tab=done", "/deliverables/", "/settings/audit/"):
        page.goto(address)
        wrong[address] = look(page, axe)
    assert not any(wrong.values()), wrong


def test_a_refused_form_suits_everybody(window, waiting, axe, troubles):
    troubles.expected("400|409")
    page = window("operator")
    page.goto("/runs/new/kpi-tracking/")
    page.get_by_label("Month").evaluate("field => { field.type = 'text' }")  # as a browser that knows no months
    page.get_by_label("Month").fill("soon")
    page.get_by_role("button", name="Start the run").click()
    page.locator(".has-error").wait_for()
    assert look(page, axe) == []
    page = window("approver", java_script_enabled=False)
    _, request = waiting()
    page.goto(f"/approvals/{request['id']}/")
    page.locator(".decision-bar").get_by_role("button", name="Abort").click()
    page.locator(".has-error #note").wait_for()


def test_signing_in_suits_everybody(window, axe, troubles):
    page = window(None)
    for address in ("/accounts/login/", "/accounts/password/reset/"):
        page.goto(address)
        assert look(page, axe) == []
