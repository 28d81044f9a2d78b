"""What becomes of errors: what is found of it in a definition, and what is planned."""

import pytest

from orchestration.language import AgentFacts, compile_definition

AGENTS = {"echo": AgentFacts("tool"), "boss": AgentFacts("orchestrator")}


def compiled(*lines):
    text = "\n".join(["name: d", "steps:", *lines])
    return compile_definition(text, file="f.yaml", agents=AGENTS, policies=["default"])


def planned(*lines):
    result = compiled(*lines)
    assert result.findings == []
    return result.plan


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["  a: {agent: echo, retry: {attempts: 2, on: {late: {}}}}"], [(3, 46, "unknown-key")]),
        (["  a: {agent: echo, retry: {attempts: 2, on: {child_failed: {}}}}"], [(3, 46, "retry")]),
        (["  a: {agent: boss, retry: {attempts: 2, on: {child_failed: {}}}}"], []),
        (["  a: {agent: echo, retry: {attempts: 2, max: 1m, on: {timeout: {backoff: 2m}}}}"], [(3, 64, "retry")]),
        (["  a: {agent: echo, retry: {attempts: 2, add: 5}}"], [(3, 46, "duration")]),
    ],
)
def test_each_finding_names_its_place(lines, found):
    assert [(each.line, each.column, each.rule) for each in compiled(*lines).findings] == found


def test_tries_are_planned_by_class():
    plan = planned(
        "  a:",
        "    agent: echo",
        "    retry: {attempts: 4, backoff: 2s, add: 1s, total: 1h,",
        "            on: {timeout: {attempts: 2}, permanent: {backoff: 2m}}}",
    )
    tries = {"attempts": 4, "backoff": 2.0, "factor": 2.0, "max": 60.0, "jitter": 0.1, "add": 1.0}
    on = {"timeout": {**tries, "attempts": 2}, "permanent": {**tries, "backoff": 120.0, "max": 120.0}}
    assert plan["steps"][0]["retry"] == {**tries, "total": 3600.0, "on": on}
    assert plan["level"] == 1
