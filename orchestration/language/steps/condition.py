"""`if`: one CEL condition, in `${{ }}` or without."""

from .. import schemas
from ..draft import Draft
from ..expressions import ExpressionError, bare, compile_expression
from ..nodes import Where
from ..references import BEFORE, check_expression, check_template


def check(draft: Draft, name: str) -> None:
    condition = draft.steps[name].get("if")
    if not isinstance(condition, str):
        return
    at: Where = ["steps", name, "if"]
    try:
        expression = compile_expression(bare(condition))
    except ExpressionError as exc:
        _find_unreadable(draft, name, condition, exc)
        return
    check_expression(draft, at, expression, name, BEFORE)
    types = schemas.types_of(draft.schema_of(expression.path)) if expression.path else None
    if types is not None and "boolean" not in types:
        message = f"`{expression.source}` is {schemas.named(types)}, not true or false."
        draft.find(at, "condition", message, "Compare it with something.")


def _find_unreadable(draft: Draft, name: str, condition: str, exc: ExpressionError) -> None:
    at: Where = ["steps", name, "if"]
    if condition.count("${{") == 1:
        check_template(draft, at, condition, name, BEFORE)
        if any(finding.line == draft.root.at(at).line for finding in draft.findings.found):
            return
    draft.find_in(at, bare(condition), exc.offset, "expression", f"{exc}.", "Write one CEL condition.")
