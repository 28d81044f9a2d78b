"""An answer of a language model, read while it is written."""

import httpx2
from playwright.sync_api import expect

from tests.e2e.test_main_job import stays

TEXT = """name: written
steps:
  draft: {agent: summarizer, with: {text: "Revenue was 12 EUR. Costs were 7 EUR. Both are fine.", style: plain}}
"""


def test_an_answer_is_read_as_it_is_written(client, window, simulators_process):
    client("builder").post("definitions/", {"text": TEXT, "file": "written.yaml"})
    httpx2.post(f"{simulators_process}/_control", json={"fault": "halting", "seconds": 1.5}).raise_for_status()
    run = client("operator").post("runs/", {"definition": "written", "input": {}})["id"]
    page = window("operator")
    page.goto(f"/runs/{run}/?step=draft")
    is_here = stays(page)
    answer = page.locator("#answer-so-far")
    expect(answer).to_contain_text('{"title": "Summary"')
    first = len(answer.inner_text())
    expect(page.locator("#answer-so-far .said")).to_contain_text("Both are fine.")
    assert len(answer.inner_text()) > first
    expect(answer).to_have_count(0)
    expect(page.locator("#step-panel")).to_contain_text("Completed")
    assert is_here()
