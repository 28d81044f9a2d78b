"""What expressions read: whether it may be read at their place, and whether there is such a step, field or function."""

from collections.abc import Iterator
from typing import Any

from . import schemas
from .draft import AT_START, EVERYWHERE, Draft
from .expressions import FUNCTIONS, Expression, ExpressionError, Part, Read, split
from .findings import did_you_mean
from .nodes import Where

RUN_FIELDS = ("id", "started_by", "organization", "url")
STARTING_FIELDS = ("started_by", "organization")
STEP_FIELDS = ("output", "status", "decision", "event")
EVENT_FIELDS = ("name", "key", "at", "by", "id")
SCHEDULE_FIELDS = ("at", "last")
DECISION_FIELDS = ("choice", "note", "form", "by")

Told = Iterator[tuple[int, str, str, str]]  # which part of the path, rule, message, fix


def check_template(draft: Draft, at: Where, value: Any, step: str | None, roots: frozenset[str]) -> None:
    """`step`: whose it is, None for the definition's; `roots`: the names known there."""
    if isinstance(value, dict):
        for key, below in value.items():
            check_template(draft, [*at, key], below, step, roots)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            check_template(draft, [*at, index], below, step, roots)
    elif isinstance(value, str):
        try:
            parts = split(value)
        except ExpressionError as exc:
            fix = "Write CEL, between ${{ and }}."
            draft.find_in(at, value, exc.offset, "expression", f"{str(exc).rstrip('.')}.", fix)
            return
        for part in parts:
            if isinstance(part, Part):
                check_expression(draft, at, part.expression, step, roots, value, part.start)


def check_expression(
    draft: Draft,
    at: Where,
    expression: Expression,
    step: str | None,
    roots: frozenset[str],
    text: str | None = None,
    start: int = 0,
) -> None:
    """`text`: in which it begins at `start`; None if it stands alone."""
    text = expression.source if text is None else text
    for name, offset in expression.functions.items():
        if name not in FUNCTIONS:
            message = f"There is no function {name}."
            draft.find_in(at, text, start + offset, "unknown-function", message, did_you_mean(name, FUNCTIONS))
    try:
        expression.refuse_too_much({})
    except ExpressionError as exc:
        draft.find_in(at, text, start, "expression", f"{exc}.", "Do less in one expression.")
    for one in expression.reads:
        for depth, rule, message, fix in _read(draft, one, step, roots):
            draft.find_in(at, text, start + one.offsets[depth], rule, message, fix)


def steps_read(value: Any) -> frozenset[str]:
    """The steps that a template reads."""
    if isinstance(value, dict):
        return frozenset().union(*(steps_read(below) for below in value.values()))
    if isinstance(value, list):
        return frozenset().union(*(steps_read(below) for below in value))
    if isinstance(value, str):
        return frozenset().union(*(part.expression.names.steps for part in split(value) if isinstance(part, Part)))
    return frozenset()


def _read(draft: Draft, one: Read, step: str | None, roots: frozenset[str]) -> Told:
    first = str(one.path[0])
    if first not in roots:
        known = first in EVERYWHERE or first in draft.variables.get(step or "", ())
        message = f"{first} cannot be read here." if known else f"Expressions know no {first}."
        fix = f"Known here: {', '.join(sorted(roots))}." if known else did_you_mean(first, roots)
        yield 0, "unknown-name", message, fix
    elif first == "steps":
        yield from _step(draft, one, step)
    elif first == "run" and len(one.path) > 1:
        known_fields = STARTING_FIELDS if roots == AT_START else RUN_FIELDS
        if one.path[1] not in known_fields:
            yield 1, "unknown-field", f"run has no {one.path[1]} here.", did_you_mean(str(one.path[1]), known_fields)
    elif first == "schedule" and len(one.path) > 1 and one.path[1] not in SCHEDULE_FIELDS:
        message = f"schedule has no {one.path[1]}."
        yield 1, "unknown-field", message, did_you_mean(str(one.path[1]), SCHEDULE_FIELDS)
    elif first == "input":
        yield from _field(one, draft.input_schema, 1)
    elif first == "output" and step is not None:
        yield from _field(one, draft.output_schemas.get(step), 1)
    elif first in draft.variables.get(step or "", ()):
        yield from _field(one, draft.variables[step or ""][first], 1)


def _step(draft: Draft, one: Read, step: str | None) -> Told:
    if len(one.path) < 2:
        yield 0, "unknown-step", "A step must be named where it is read.", "Write steps.NAME.output."
        return
    name = str(one.path[1])
    if name not in draft.steps:
        yield 1, "unknown-step", f"There is no step {name}.", draft.meant(name, step)
        return
    if step is not None and (name not in draft.ancestors[step] or name == step):
        message = f"{step} reads {name} and does not need it, directly or not."
        fix = "Read output in deliverable, after the step." if name == step else f"Add {name} to needs."
        yield 1, "reads-without-need", message, fix
    if len(one.path) < 3:
        yield 1, "unknown-field", f"steps.{name} alone has no value.", f"Write steps.{name}.output."
    elif one.path[2] not in STEP_FIELDS:
        message = f"A step has no {one.path[2]}."
        yield 2, "unknown-field", message, did_you_mean(str(one.path[2]), STEP_FIELDS)
    elif one.path[2] == "output":
        yield from _field(one, draft.output_schemas.get(name), 3)
    elif one.path[2] == "decision" and "approval" not in draft.steps[name]:
        yield 2, "unknown-field", f"{name} is no approval and has no decision.", f"Write steps.{name}.output."
    elif one.path[2] == "decision" and len(one.path) > 3 and one.path[3] not in DECISION_FIELDS:
        message = f"A decision has no {one.path[3]}."
        yield 3, "unknown-field", message, did_you_mean(str(one.path[3]), DECISION_FIELDS)
    elif one.path[2] == "event" and "wait" not in draft.steps[name]:
        yield 2, "unknown-field", f"{name} is no wait and has no event.", f"Write steps.{name}.output."
    elif one.path[2] == "event" and len(one.path) > 3 and one.path[3] not in EVENT_FIELDS:
        message = f"An event has no {one.path[3]}."
        yield 3, "unknown-field", message, did_you_mean(str(one.path[3]), EVENT_FIELDS)
    elif one.path[2] == "status" and len(one.path) > 3:
        yield 3, "unknown-field", "A status is text and has no fields.", f"Write steps.{name}.status."


def _field(one: Read, schema: Any, start: int) -> Told:
    if schema is None or one.tested:
        return
    found = schemas.follow(schema, one.path[start:])
    if isinstance(found, schemas.Unknown):
        depth = start + found.depth
        above = ".".join(str(key) for key in one.path[:depth])
        fix = did_you_mean(str(one.path[depth]), found.known) if found.known else "Read the value as it is."
        yield depth, "unknown-field", f"{one.path[depth]}: {above} {found.message}.", fix
