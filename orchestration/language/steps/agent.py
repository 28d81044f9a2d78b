"""`agent`: a step that an agent does."""

from typing import Any

from ..draft import AgentFacts, Draft
from ..findings import did_you_mean
from ..nodes import Where
from . import given


def check(draft: Draft, name: str) -> None:
    step, at = draft.steps[name], ["steps", name]
    agent = step["agent"]
    facts = draft.agents.get(agent) if isinstance(agent, str) else None
    if facts is None:
        _find_unknown(draft, [*at, "agent"], agent)
        return
    if "conversation" in step and facts.kind != "context":
        message = f"{agent} is a {facts.kind} agent, and only context agents hold a conversation."
        draft.find_key([*at, "conversation"], "conversation", message, "Hand the words in with:.")
    draft.output_schemas[name] = facts.output_schema
    if facts.operations:
        _check_operation(draft, name, facts)
    elif "with" in step or "conversation" not in step:
        given.check_against(draft, name, step.get("with", {}), facts.input_schema, "agent")


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"agent": draft.steps[name]["agent"]}


def _find_unknown(draft: Draft, at: Where, agent: Any) -> None:
    if not isinstance(agent, str):
        return
    fix = did_you_mean(agent, draft.agents)
    if agent in draft.definitions:
        fix = f"{agent} is a definition: name the orchestrator agent that runs it."
    draft.find(at, "unknown-agent", f"There is no agent {agent}.", fix)


def _check_operation(draft: Draft, name: str, facts: AgentFacts) -> None:
    at: Where = ["steps", name, "with", "operation"]
    step = draft.steps[name]
    said = step.get("with")
    operation = said.get("operation") if isinstance(said, dict) else None
    if operation is None:
        message = f"{step['agent']} needs to know which operation."
        draft.find_key(at, "unknown-operation", message, f"Add operation: {' or '.join(sorted(facts.operations))}.")
    elif not isinstance(operation, str) or operation not in facts.operations:
        if "${{" not in str(operation):
            message = f"{step['agent']} has no operation {operation}."
            draft.find(at, "unknown-operation", message, did_you_mean(str(operation), facts.operations))
    else:
        facts_of = facts.operations[operation]
        draft.output_schemas[name] = facts_of.get("output") or facts.output_schema
        parameters = {key: value for key, value in step["with"].items() if key != "operation"}
        given.check_against(draft, name, parameters, facts_of.get("parameters"), "agent")
