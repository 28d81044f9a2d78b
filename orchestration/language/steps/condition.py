"""`if`: one CEL condition, in `${{ }}` or without."""

from typing import Any

from .. import schemas
from ..draft import Draft, Place
from ..expressions import Expression, ExpressionError, bare, compile_expression
from ..nodes import Where
from ..references import check_expression, check_template


def check(draft: Draft, name: str) -> None:
    check_condition(draft, ["steps", name, "if"], draft.steps[name]["if"], name, "once")


def plan(draft: Draft, name: str) -> dict[str, Any]:
    expression = expression_of(draft.steps[name]["if"])
    return {"if": expression.source, "reads_status": bool(expression.names.statuses & set(draft.needs[name]))}


def reads(condition: str | bool) -> frozenset[str]:
    return expression_of(condition).names.steps


def expression_of(condition: str | bool) -> Expression:
    return compile_expression(str(condition).lower() if isinstance(condition, bool) else bare(condition))


def check_condition(draft: Draft, at: Where, condition: Any, name: str, place: Place) -> None:
    """Of the step `name`, evaluated at `place`."""
    if not isinstance(condition, str):
        return
    try:
        expression = compile_expression(bare(condition))
    except ExpressionError as exc:
        _find_unreadable(draft, at, condition, name, place, exc)
        return
    check_expression(draft, at, expression, name, draft.roots_of(name, place))
    types = schemas.types_of(draft.schemas_at(name)(expression.path)) if expression.path else None
    if types is not None and "boolean" not in types:
        message = f"`{expression.source}` is {schemas.named(types)}, not true or false."
        draft.find(at, "condition", message, "Compare it with something.")


def _find_unreadable(draft: Draft, at: Where, condition: str, name: str, place: Place, exc: ExpressionError) -> None:
    if condition.count("${{") == 1:
        check_template(draft, at, condition, name, draft.roots_of(name, place))
        if any(finding.line == draft.root.at(at).line for finding in draft.findings.found):
            return
    draft.find_in(at, bare(condition), exc.offset, "expression", f"{exc}.", "Write one CEL condition.")
