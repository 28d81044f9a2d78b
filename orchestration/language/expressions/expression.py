"""One CEL expression over JSON.

CEL does not mix ints and doubles, and JSON does not tell them apart; so a value whose schema says `number` becomes a
float and every other whole number an int (`Typing`) before an expression sees it. What comes back is plain JSON again.
Only what an expression reads is converted for it: about 5 µs an evaluation however large the run's outputs are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cel
from django.conf import settings

from . import parts
from .errors import ExpressionError, reason, syntax_error
from .functions import EXTRA_FUNCTIONS
from .plain import NotPlain, plain, plain_in_order
from .reads import Read, Scan, TooDeep, scan, tokens
from .variables import ABSENT, follow, pruned, wanted_by
from .work import Shapes, cost_of, shape_of

LONGEST_EXPRESSION = 4_000


@dataclass(frozen=True, slots=True)
class Names:
    """What an expression reads: roots (`input`, `steps`, …) and, of which steps, what."""

    roots: frozenset[str]
    outputs: frozenset[str]
    statuses: frozenset[str]
    decisions: frozenset[str]

    @property
    def steps(self) -> frozenset[str]:
        return self.outputs | self.statuses | self.decisions


class Expression:
    """One compiled CEL expression; threads may share it."""

    __slots__ = ("_cost", "_divided", "_extra", "_path", "_program", "_wanted", "functions", "reads", "source")

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST_EXPRESSION:
            raise ExpressionError(f"an expression of {len(source)} characters; at most {LONGEST_EXPRESSION} are taken")
        found = _scanned(source)
        self.source = source
        self._program = _program(source)
        self.reads: tuple[Read, ...] = tuple(found.reads)
        self.functions: Mapping[str, int] = found.functions
        self._wanted = wanted_by(found.reads)
        self._path = found.reads[0].path if found.is_plain_path else None
        self._extra = {name: EXTRA_FUNCTIONS[name] for name in found.functions if name in EXTRA_FUNCTIONS}
        items = list(tokens(source))
        self._cost = cost_of(items)
        self._divided = self._parts_of(parts.divided(source, items))

    @property
    def path(self) -> tuple[str | int, ...] | None:
        """The path, if the whole expression is nothing but one."""
        return self._path

    @property
    def names(self) -> Names:
        of = {"output": set[str](), "status": set[str](), "decision": set[str]()}
        for read in self.reads:
            if read.path[0] == "steps" and len(read.path) > 1:
                which = str(read.path[2]) if len(read.path) > 2 else "output"
                of.get(which, of["output"]).add(str(read.path[1]))
        roots = frozenset(str(read.path[0]) for read in self.reads)
        return Names(roots, frozenset(of["output"]), frozenset(of["status"]), frozenset(of["decision"]))

    def evaluate(self, context: Mapping[str, Any]) -> Any:
        """The value as plain JSON. `context` holds typed JSON (see `Typing`), unchanged. Raises ExpressionError."""
        if self._path is not None and (value := follow(context, self._path)) is not ABSENT:
            return self._as(plain, value)
        if self._divided is not None:
            path, over, then = self._divided
            if type(items := follow(context, path)) is list and len(items) > parts.LENGTH:
                found = over._evaluate_parts(items, context)
                if then is not None:
                    return then.evaluate({**context, parts.NAME: found})
                return self._as(plain_in_order, found)
        variables = pruned(self._wanted, context)
        if self._cost is not None:
            self.refuse_too_much({name: shape_of(value) for name, value in variables.items()})
        return self._as(plain_in_order, self._execute(variables))

    def refuse_too_much(self, shapes: Shapes, times: int = 1) -> None:
        """Before it runs. Raises ExpressionError."""
        if self._cost is not None and self._cost(shapes)[1] * times > settings.EXPRESSION_MOST_WORK:
            most = f"at most {settings.EXPRESSION_MOST_WORK:,} units are taken (setting EXPRESSION_MOST_WORK)"
            raise ExpressionError(f"`{self.source}`: this can take too much work with these values; {most}")

    def _parts_of(self, found: parts.Divided | None) -> "tuple[tuple[str, ...], Expression, Expression | None] | None":
        if found is None:
            return None
        over, then = Expression(found.over), None if found.then is None else Expression(found.then)
        for part in (over, then):
            if part is not None:
                part.source = self.source  # as errors name it
        return found.path, over, then

    def _evaluate_parts(self, items: list[Any], context: Mapping[str, Any]) -> list[Any]:
        variables = pruned(self._wanted, context)
        if self._cost is not None:
            own, *below = shape_of(items)
            shapes = {name: shape_of(value) for name, value in variables.items()}
            shapes[parts.NAME] = (own._replace(length=parts.LENGTH), *below)
            self.refuse_too_much(shapes, times=len(items) // parts.LENGTH + 1)
        found: list[Any] = []
        for start in range(0, len(items), parts.LENGTH):
            found += self._execute({**variables, parts.NAME: items[start : start + parts.LENGTH]})
        return found

    def _execute(self, variables: dict[str, Any]) -> Any:
        try:
            if self._extra:
                return self._program.execute(cel.Context(variables=variables, functions=self._extra))
            return self._program.execute(variables)
        except (LookupError, ValueError, TypeError, RuntimeError, ArithmeticError) as exc:
            raise ExpressionError(f"`{self.source}`: {reason(exc)}") from exc

    def _as(self, plain: Callable[[Any], Any], value: Any) -> Any:
        try:
            return plain(value)
        except NotPlain as exc:
            raise ExpressionError(f"`{self.source}`: {exc}") from exc
        except RecursionError as exc:
            raise ExpressionError(f"`{self.source}`: the result nests too deeply") from exc


@lru_cache(maxsize=8192)
def compile_expression(source: str) -> Expression:
    """`source` is bare CEL, without `${{ }}`. Raises ExpressionError."""
    return Expression(source.strip())


def _scanned(source: str) -> Scan:
    try:
        return scan(source)
    except TooDeep as exc:
        raise ExpressionError("the brackets of this expression nest too deeply") from exc


def _program(source: str) -> cel.Program:
    if not source:
        raise ExpressionError("there is no expression in `${{ }}`")
    try:
        return cel.compile(source)
    except ValueError as exc:
        offset, problem = syntax_error(source, str(exc))
        raise ExpressionError(f"`{source}`: {problem}", offset=offset) from exc
