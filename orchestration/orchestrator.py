"""Agents of kind `orchestrator`: they own saved definitions; calling one starts a run of a definition that it owns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.calls import Call, Result
from agents.exceptions import Permanent
from agents.schemas import Finding, value_findings

CONFIGURATION = {
    "type": "object",
    "required": ["definitions"],
    "additionalProperties": False,
    "properties": {
        "definitions": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        "by_key": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


@dataclass(frozen=True, slots=True)
class Delegated(Result):
    """Not an output yet: a run of `definition` is to be started with `input`, and its output is the call's."""

    output: Any = None
    definition: str = ""
    input: Any = None


def run(call: Call) -> Delegated:
    """Input {definition, input}; or a definition's own input, if the agent owns no other, or `by_key` says of a key of
    the input which definition it is for."""
    owned = call.configuration["definitions"]
    given = call.input
    if isinstance(given, Mapping) and "definition" in given:
        chosen, given = given["definition"], given.get("input", {})
    else:
        by_key = call.configuration.get("by_key", {})
        meant = {by_key[key] for key in given if key in by_key} if isinstance(given, Mapping) else set()
        chosen = meant.pop() if len(meant) == 1 else owned[0] if len(owned) == 1 else None
    if chosen not in owned:
        raise Permanent(f"This agent owns {', '.join(owned)}; its input must name one of them as `definition`.")
    return Delegated(definition=chosen, input=given)


def check(configuration: Mapping[str, Any]) -> list[Finding]:
    return value_findings(configuration, CONFIGURATION) or [
        Finding(f"/by_key/{key}", f"{definition} is not among the definitions.")
        for key, definition in configuration.get("by_key", {}).items()
        if definition not in configuration["definitions"]
    ]
