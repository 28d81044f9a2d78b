"""Places of a checkpoint's payload that follow from others, and what each is worked out by."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from approvals.editing import places_of, tokens_of, value_at

from .expressions import ExpressionError, Template, Typing, TypingError, compile_template

MOST_PLACES = 10_000  # that the patterns name together


class NotDerivable(ExpressionError):
    """What stands at `pointer` cannot be worked out."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


class Derived:
    """Compiled once; threads may share it. `patterns`: JSON Pointers, with * for any one key or index."""

    def __init__(self, rules: Iterable[Sequence[Any]], schema: Any) -> None:
        """`rules`: (pattern, template) in the order in which they are worked out; `schema`: of the payload."""
        self._rules: list[tuple[str, Template]] = [(pattern, compile_template(value)) for pattern, value in rules]
        self._typing = Typing(schema)
        self.patterns = [pattern for pattern, _ in self._rules]

    def applied(self, payload: Any) -> Any:
        """A copy of `payload` in which they stand as they follow from the rest. Raises NotDerivable."""
        whole, left = copy.deepcopy(payload), MOST_PLACES
        for pattern, template in self._rules:
            places = list(places_of(whole, pattern))
            left -= len(places)
            if left < 0:
                raise NotDerivable(pattern, f"there are too many places to be worked out; at most {MOST_PLACES:,}")
            self._work_out(whole, places, template)
        return whole

    def _work_out(self, whole: Any, places: Sequence[str], template: Template) -> None:
        """All places of one pattern from what was there before; so their order does not matter."""
        try:
            typed = self._typing.apply(whole)
        except TypingError as exc:
            raise NotDerivable("", str(exc)) from exc
        for pointer in places:
            tokens = tokens_of(pointer)
            try:
                value = template.evaluate({"this": value_at(typed, tokens[:-1]), "output": typed})
            except ExpressionError as exc:
                raise NotDerivable(pointer, str(exc)) from exc
            holder = value_at(whole, tokens[:-1])
            holder[int(tokens[-1]) if isinstance(holder, list) else tokens[-1]] = value
