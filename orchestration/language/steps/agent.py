"""`agent`: a step that an agent does, and `with` and `conversation`, which it is given."""

from collections.abc import Mapping
from typing import Any

from ui.schema_words import words_of_error

from ..draft import AgentFacts, Draft
from ..expressions import ExpressionError
from ..findings import did_you_mean
from ..literals import literal_errors, with_holes
from ..nodes import Where
from ..references import CALLING, check_template
from . import retry

KEYS = ("with", "conversation", "retry", "timeout", "repeatable")  # that only an agent's step has


def check(draft: Draft, name: str) -> None:
    step, at = draft.steps[name], ["steps", name]
    agent = step["agent"]
    check_template(draft, [*at, "with"], step.get("with"), name, CALLING)
    _check_conversation(draft, name)
    retry.check(draft, name)
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
        _check_given(draft, name, step.get("with", {}), facts.input_schema)


def _check_conversation(draft: Draft, name: str) -> None:
    conversation = draft.steps[name].get("conversation")
    for index, message in enumerate(conversation if isinstance(conversation, list) else ()):
        if isinstance(message, dict):
            at: Where = ["steps", name, "conversation", index, "content"]
            check_template(draft, at, message.get("content"), name, CALLING)


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
    given = step.get("with")
    operation = given.get("operation") if isinstance(given, dict) else None
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
        _check_given(draft, name, parameters, facts_of.get("parameters"))


def _check_given(draft: Draft, name: str, value: Any, schema: Any) -> None:
    """What is written in `with` against what the agent takes, its templates counted as whatever they can be."""
    if not isinstance(schema, dict) or not isinstance(value, dict):
        return
    try:
        filled = with_holes(value, draft.schema_of)
    except ExpressionError:
        return
    error: Any  # the stubs know its members as perhaps unset
    for error in literal_errors(schema, filled):
        path: Where = ["steps", name, "with", *error.absolute_path]
        if error.validator == "additionalProperties" and isinstance(error.schema, Mapping):
            known = error.schema.get("properties", {})
            for key in [key for key in error.instance if key not in known]:
                draft.find_key([*path, key], "with", f"The agent takes no {key}.", did_you_mean(key, known))
        else:
            message = f"The agent does not take this: {words_of_error(error)}"
            draft.find(path, "with", message, "See the agent's input schema.")
