"""What the release before would not understand has the level of this one: its workers leave such runs alone."""

import json

import pytest

from orchestration.language import AgentFacts, compile_definition, steps, top
from orchestration.language.schema import SCHEMA, STEP_KEYS

# Keys by the level of a plan that has them, of definitions and of their steps; the others by how they are used, below.
TOP = {
    0: {"name", "input", "output"},
    1: {"output_schema", "schedule", "timeout"},
    2: {"budget", "concurrency", "debounce", "fair_by", "labels", "messages", "priority", "rate", "visible_to"},
    3: {"expect"},
}
OF_STEPS = {
    0: {"agent", "approval", "conversation", "deliverable", "if", "needs", "repeatable", "retry", "timeout", "with"},
    1: {"choose", "expect", "map", "on_failure", "repeat", "run", "wait"},
    2: {"cache", "compensate", "concurrency", "rate"},
}
WITH = {  # what a key of a step needs beside its example
    "compensate": {"agent": "echo", "compensate": {"agent": "echo"}},
    "cache": {"agent": "echo", "cache": {"key": "k", "ttl": "1h"}},
    "concurrency": {"agent": "echo", "concurrency": {"max": 2}},
    "rate": {"agent": "echo", "rate": {"max": 2, "per": "1m"}},
    "expect": {"agent": "echo", "expect": {"within": "1h"}},
    "map": {"agent": "echo", "map": {"over": [1]}},
    "repeat": {"agent": "echo", "repeat": {"until": "true", "max": 2}},
    "wait": {"wait": {"for": "1h"}},
    "on_failure": {"agent": "echo", "on_failure": "continue"},
}
TOP_WITH = {
    "output_schema": {"type": "integer"},
    "priority": 5,
    "fair_by": "k",
    "labels": {"a": "b"},
    "budget": {"tokens": 7},
    "messages": {"note": {}},
}


def level_of(**said):
    text = json.dumps({"name": "d", "steps": {"a": {"agent": "echo"}}} | said)
    found = compile_definition(text, file="d.yaml", agents={"echo": AgentFacts(kind="tool")}, policies=["default"])
    assert found.plan is not None, found.findings
    return found.plan.get("level", 0)


def test_every_key_has_its_level():
    """A key more is placed here by whoever adds it."""
    assert set().union(*TOP.values()) == set(top.KEYS)
    assert set().union(*OF_STEPS.values()) == set(steps.KEYS)
    assert set(top.KEYS) <= set(SCHEMA["properties"])
    assert set(steps.KEYS) <= set(STEP_KEYS)


@pytest.mark.parametrize(("key", "level"), [(key, level) for level in (1, 2, 3) for key in sorted(TOP[level])])
def test_a_definition_that_has_it_is_of_its_level(key, level):
    example = TOP_WITH.get(key, SCHEMA["properties"][key].get("examples", [None])[0])
    given = {"output": 1, "input": {"type": "object", "properties": {"customer": {"type": "string"}}}} | {key: example}
    assert level_of(**given) == level


@pytest.mark.parametrize("key", sorted(set(WITH)))
def test_a_step_that_has_it_makes_its_plan_of_its_level(key):
    assert level_of(steps={"a": WITH[key]}) == (2 if key in OF_STEPS[2] else 1)


def test_a_weight_is_of_the_third_level_and_a_key_alone_of_the_second():
    assert level_of(fair_by={"key": "k", "weight": 3}) == 3
    assert level_of(fair_by={"key": "k"}) == level_of(fair_by={"key": "k", "weight": 1}) == 2


def test_what_follows_by_class_is_of_the_third_level():
    assert level_of(steps={"a": {"agent": "echo", "on_failure": {"timeout": "continue"}}}) == 3


def test_a_run_among_what_a_wait_waits_for_is_of_the_fourth_level():
    among = {"wait": {"any": [{"for": "1h"}, {"run": "d"}]}}
    assert level_of(steps={"a": {"wait": {"any": [{"for": "1h"}, {"event": "e"}]}}}) == 1
    assert level_of(steps={"a": among}) == 4


def test_what_follows_from_edits_is_of_the_third_level():
    gate = {"title": "t", "show": {"a": 1, "b": 2}, "editable": "/a"}
    assert level_of(steps={"a": {"approval": gate}}) == 0
    assert level_of(steps={"a": {"approval": {**gate, "derived": {"/b": "${{ this.a * 2 }}"}}}}) == 3


def test_what_every_release_knew_has_no_level():
    step = {"agent": "echo", "if": "true", "with": {}, "retry": {"attempts": 2}, "timeout": "1m", "repeatable": True}
    assert level_of(description="x", output=1, steps={"a": step, "b": {"needs": "a", "agent": "echo"}}) == 0
