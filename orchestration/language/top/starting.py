"""What keys of a definition say of each start: one value or template, evaluated before there is a run."""

from typing import Any

from .. import schemas
from ..draft import AT_START, Draft
from ..expressions import ExpressionError
from ..nodes import Where
from ..references import check_template

SCALAR = frozenset({"string", "integer", "number", "boolean", "null"})
NUMBER = frozenset({"integer", "number"})


def check_value(draft: Draft, at: Where, value: Any, rule: str, types: frozenset[str] = SCALAR) -> None:
    """`types`: of what it may give."""
    check_template(draft, at, value, None, AT_START)
    try:
        given = schemas.types_of(schemas.of_template(value, lambda path: draft.schema_of(path, "")))
    except ExpressionError:
        return
    if given is not None and not given & types:
        what = f"It gives {schemas.named(given)}, not {'a number' if types is NUMBER else 'one text or number'}."
        draft.find(at, rule, what, "Take one value of the input.")
