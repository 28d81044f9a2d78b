"""An `if`: it may stand in `${{ }}` or without, and is true or false."""

from collections.abc import Mapping
from typing import Any

from .errors import ExpressionError
from .expression import Expression, compile_expression
from .reads import end_of_template

KINDS: tuple[tuple[type, str], ...] = (
    (type(None), "null"),
    (bool, "a truth value"),
    (int, "a number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "an object"),
)


class Condition:
    """An `if`: an expression whose value must be true or false."""

    __slots__ = ("expression",)

    def __init__(self, expression: Expression) -> None:
        self.expression = expression

    def evaluate(self, context: Mapping[str, Any]) -> bool:
        value = self.expression.evaluate(context)
        if not isinstance(value, bool):
            raise ExpressionError(f"`{self.expression.source}`: a condition must be true or false, not {_kind(value)}")
        return value


def compile_condition(source: str) -> Condition:
    """`source` is bare CEL or one `${{ }}`, as in a plan's `if`. Raises ExpressionError."""
    return Condition(compile_expression(bare(source)))


def bare(source: str) -> str:
    """The expression of a condition, which may stand in `${{ }}` or without."""
    stripped = source.strip()
    if stripped.startswith("${{") and end_of_template(stripped, 3) == len(stripped) - 2:
        return stripped[3:-2].strip()
    return stripped


def _kind(value: Any) -> str:
    return next((name for kind, name in KINDS if isinstance(value, kind)), type(value).__name__)
