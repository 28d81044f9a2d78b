"""`messages`: what may be sent to a run, when it is taken, and what its sender is told."""

from typing import Any

from .. import schemas
from ..draft import IN_OUTPUT, Draft
from ..expressions import ExpressionError, bare, compile_expression
from ..nodes import Where
from ..references import check_expression, check_template, steps_read

MESSAGE = "message"
READS = IN_OUTPUT | {MESSAGE}


def schemas_of(draft: Draft) -> dict[str, Any]:
    """Of each message that the definition declares; None where it says nothing."""
    messages = draft.root.value.get("messages")
    return {
        name: message.get("schema") if isinstance(message, dict) else None
        for name, message in (messages.items() if isinstance(messages, dict) else ())
    }


def check(draft: Draft) -> None:
    for name, schema in schemas_of(draft).items():
        message = draft.root.value["messages"][name]
        if isinstance(message, dict):
            wrong = schemas.check(schema) if isinstance(schema, dict) else []
            for path, what in wrong:
                words = f"The message's JSON Schema: {what}."
                draft.find(["messages", name, "schema", *path], MESSAGE, words, "Write JSON Schema 2020-12.")
            draft.variables[""] = {MESSAGE: None if wrong else schema}
            _check_words(draft, ["messages", name], message)


def plan(draft: Draft) -> dict[str, Any]:
    return {"messages": {name: _plan_of(message) for name, message in draft.root.value["messages"].items()}}


def _plan_of(message: dict[str, Any]) -> dict[str, Any]:
    condition, reply = _condition(message.get("if")), message.get("reply")
    read = steps_read(reply) | (compile_expression(condition).names.steps if condition else frozenset())
    return {"schema": message.get("schema"), "if": condition, "reply": reply, "reads": sorted(read)}


def _condition(said: Any) -> str | None:
    return None if said is None else bare(str(said).lower() if isinstance(said, bool) else str(said))


def _check_words(draft: Draft, at: Where, message: dict[str, Any]) -> None:
    check_template(draft, [*at, "reply"], message.get("reply"), None, READS)
    condition = _condition(message.get("if"))
    if condition is None:
        return
    try:
        expression = compile_expression(condition)
    except ExpressionError as exc:
        draft.find_in([*at, "if"], condition, exc.offset, "expression", f"{exc}.", "Write one CEL condition.")
        return
    check_expression(draft, [*at, "if"], expression, None, READS)
    types = schemas.types_of(draft.schema_of(expression.path, step="")) if expression.path else None
    if types is not None and "boolean" not in types:
        words = f"`{condition}` is {schemas.named(types)}, not true or false."
        draft.find([*at, "if"], "condition", words, "Compare it with something.")
