"""`${{ }}` in the strings of a JSON value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ExpressionError
from .expression import Expression, compile_expression
from .plain import as_text
from .reads import end_of_template


@dataclass(frozen=True, slots=True)
class Part:
    """An expression in a string, and where in the string it begins, after `${{` and blanks."""

    expression: Expression
    start: int


class Template:
    """A JSON value with `${{ }}` in its strings, compiled once; threads may share it."""

    __slots__ = ("_evaluate",)

    def __init__(self, value: Any) -> None:
        self._evaluate = self._compile(value)

    def evaluate(self, context: Mapping[str, Any]) -> Any:
        """A string that is one `${{ }}` keeps its value's type, any other becomes text. Raises ExpressionError."""
        return self._evaluate(context)

    def _compile(self, value: Any) -> Callable[[Mapping[str, Any]], Any]:
        if isinstance(value, str):
            return self._compile_text(value)
        if isinstance(value, Mapping):
            fields = [(str(key), self._compile(item)) for key, item in value.items()]
            return lambda context: {key: evaluate(context) for key, evaluate in fields}
        if isinstance(value, list | tuple):
            items = [self._compile(item) for item in value]
            return lambda context: [evaluate(context) for evaluate in items]
        return lambda context: value

    def _compile_text(self, text: str) -> Callable[[Mapping[str, Any]], Any]:
        parts = split(text)
        if not any(isinstance(part, Part) for part in parts):
            return lambda context: text
        if len(parts) == 1 and isinstance(parts[0], Part):
            return parts[0].expression.evaluate
        pieces = [part if isinstance(part, str) else part.expression for part in parts]
        return lambda context: "".join(
            piece if isinstance(piece, str) else as_text(piece.evaluate(context)) for piece in pieces
        )


def compile_template(value: Any) -> Template:
    """Raises ExpressionError if an expression in `value` does not compile."""
    return Template(value)


def split(text: str) -> list[str | Part]:
    """The literal pieces and expressions of a string, in order. Raises ExpressionError with the offset in `text`."""
    parts: list[str | Part] = []
    at = 0
    while (start := text.find("${{", at)) >= 0:
        end = end_of_template(text, start + 3)
        if end is None:
            raise ExpressionError("`${{` without its `}}`", offset=start)
        if start > at:
            parts.append(text[at:start])
        inner = start + 3
        while inner < end and text[inner].isspace():
            inner += 1
        try:
            expression = compile_expression(text[inner:end].strip())
        except ExpressionError as exc:
            raise ExpressionError(str(exc), offset=inner + exc.offset) from exc
        parts.append(Part(expression, inner))
        at = end + 2
    if at < len(text) or not parts:
        parts.append(text[at:])
    return parts
