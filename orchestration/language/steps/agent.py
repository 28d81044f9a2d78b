"""`agent`: a step that an agent does."""

from collections.abc import Mapping
from typing import Any

from ..draft import AgentFacts, Draft
from ..findings import did_you_mean
from ..nodes import Where
from . import given


def check(draft: Draft, name: str) -> None:
    step, at = draft.steps[name], ["steps", name]
    agent = step["agent"]
    facts = facts_of(draft, [*at, "agent"], agent)
    if facts is None:
        return
    if "conversation" in step and facts.kind != "context":
        message = f"{agent} is a {facts.kind} agent, and only context agents hold a conversation."
        draft.find_key([*at, "conversation"], "conversation", message, "Hand the words in with:.")
    draft.output_schemas[name] = facts.output_schema
    if facts.operations or "with" in step or "conversation" not in step:
        operation = check_call(draft, name, at, step, facts)
        draft.output_schemas[name] = operation.get("output") or facts.output_schema


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"agent": draft.steps[name]["agent"]}


def facts_of(draft: Draft, at: Where, agent: Any) -> AgentFacts | None:
    """Of the agent that is named there; None, and a finding, if there is no such."""
    if not isinstance(agent, str):
        return None
    if agent in draft.agents:
        return draft.agents[agent]
    fix = did_you_mean(agent, draft.agents)
    if agent in draft.definitions:
        fix = f"{agent} is a definition: name the orchestrator agent that runs it."
    draft.find(at, "unknown-agent", f"There is no agent {agent}.", fix)
    return None


def check_call(draft: Draft, name: str, at: Where, said: Mapping[str, Any], facts: AgentFacts) -> Mapping[str, Any]:
    """Whether the agent takes what stands in `with` at this place; what is known of the operation that it names."""
    place: Where = [*at, "with", "operation"]
    value = said.get("with", {})
    if not facts.operations:
        given.check_against(draft, name, [*at, "with"], value, facts.input_schema, "agent")
        return {}
    operation = value.get("operation") if isinstance(value, dict) else None
    if operation is None:
        message = f"{said['agent']} needs to know which operation."
        draft.find_key(place, "unknown-operation", message, f"Add operation: {' or '.join(sorted(facts.operations))}.")
    elif not isinstance(operation, str) or operation not in facts.operations:
        if "${{" not in str(operation):
            message = f"{said['agent']} has no operation {operation}."
            draft.find(place, "unknown-operation", message, did_you_mean(str(operation), facts.operations))
    else:
        parameters = {key: below for key, below in value.items() if key != "operation"}
        known = facts.operations[operation]
        given.check_against(draft, name, [*at, "with"], parameters, known.get("parameters"), "agent")
        return known
    return {}
