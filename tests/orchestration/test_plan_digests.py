"""What a text of an earlier release compiles to stays the same byte for byte: an upgrade makes no new versions."""

import hashlib

import pytest

from accounts.json_values import canonical
from orchestration.language import AgentFacts, compile_definition
from tests.harness import ROOT

CHAOS = "config/chaos/library/definitions"
FIGURES = {"type": "object", "properties": {"rows": {"type": "array"}}, "additionalProperties": False}
AGENTS = {
    **dict.fromkeys(("echo", "writer", "charger", "foreman", "finance-manager"), AgentFacts("tool")),
    "supabase-agent": AgentFacts("tool", operations={"kpi_by_month": {"parameters": {}, "output": FIGURES}}),
    "summarizer": AgentFacts("context", {"type": "object"}, {"properties": {"markdown": {"type": "string"}}}),
}
EVERYTHING = """
name: everything
description: All that the first releases could say
input: {type: object, properties: {n: {type: number}}}
steps:
  a:
    agent: supabase-agent
    with: {operation: kpi_by_month, n: "${{ input.n }}"}
    retry: {attempts: 4, backoff: 2m}
    timeout: 30s
    repeatable: false
  b:
    needs: a
    if: "${{ steps.a.status == 'failed' && input.n > 1.0 }}"
    agent: summarizer
    conversation: [{role: user, content: "${{ steps.a.output }} ${{ round }}"}]
  c: {needs: [a, b], if: true, approval: {title: "Is ${{ steps.b.output }} right?"}}
  d:
    needs: [c]
    approval:
      title: t
      show: "${{ steps.a.output }}"
      choices: [continue, retry]
      retry: [b]
      editable: [/rows]
      policy: x
      deadline: {after: 1d, then: continue}
    deliverable: {name: shown, content: "${{ output.rows }}"}
  e:
    needs: d
    if: "steps.c.status == 'completed'"
    agent: echo
    with: {x: ["${{ steps.d.decision.note }}", {y: "${{ attempt }}"}]}
    deliverable: {name: e, title: "E ${{ steps.a.status }}", content: "${{ output }}"}
output: {e: "${{ steps.e.output }}", by: "${{ run.started_by }}"}
"""


def digest_of(text):
    compiled = compile_definition(text, file="f.yaml", agents=AGENTS, policies=["default", "finance-sign-off", "x"])
    assert compiled.findings == []
    return hashlib.sha256(canonical(compiled.plan)).hexdigest()[:16]


@pytest.mark.parametrize(
    ("file", "digest"),
    [
        ("orchestration/library/kpi-tracking.yaml", "f8ee42b45d2bf041"),
        (f"{CHAOS}/chain.yaml", "6ba0c642a3774a03"),
        (f"{CHAOS}/family.yaml", "d1fb324e2a2d8cba"),
        (f"{CHAOS}/fan.yaml", "ed505065bb9be427"),
        (f"{CHAOS}/gate.yaml", "99458589c308288f"),
        (f"{CHAOS}/once.yaml", "0ac0ce601e717c0f"),
        (f"{CHAOS}/unanswered-abort.yaml", "bff7e6b354ca03ba"),
        (f"{CHAOS}/unanswered-continue.yaml", "b8afd54a9a4de41a"),
    ],
)
def test_a_shipped_text_keeps_its_plan(file, digest):
    assert digest_of((ROOT / file).read_text(encoding="utf-8")) == digest


def test_a_text_of_every_key_of_the_first_releases_keeps_its_plan():
    assert digest_of(EVERYTHING) == "013c53abc3954f19"
