"""How much work an expression can be at most with the values it is handed, told before it runs.

The CEL library holds the interpreter while it runs, and cannot be stopped: one expression that explodes would hold up
everything its process does, the lease too. So what reads like `a.map(x, a.map(y, x + y))`, or doubles a text forty
times, is refused. A unit is the copy of one value, about 50 ns. Of the library: `map` and `filter` copy all they have
found so far for each element, a field is copied with all that lies in it, texts are not, and a regular expression is
compiled anew for each call.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import zip_longest
from math import prod
from typing import Any, NamedTuple

from .functions import EXTRA_FUNCTIONS
from .reads import BINDING, CLOSERS, Token


class Level(NamedTuple):
    """The largest of all values at one depth: elements, values that lie in it, characters."""

    length: int = 0
    nodes: int = 1
    chars: int = 0


Shape = tuple[Level, ...]  # of a value: itself, then of what lies in it, depth by depth
Shapes = Mapping[str, Shape]
Cost = Callable[[Shapes], tuple[Shape, int]]  # of a part of an expression: what it gives, and the work of it

LEAF: Shape = (Level(),)
ROUND = 6  # of a macro, whatever its body
CALL = 10
CONVERTED = 4  # a value that goes to Python, or comes from it
CHARACTERS = 16  # that are written for one unit
HARMLESS = 16  # operators and calls that no value makes too many
LARGEST_PATTERN = 2_000_000
SCALARS = frozenset(
    """size contains equivalent intersects startsWith endsWith matches has indexOf lastIndexOf int uint double bool
    timestamp duration type hasValue sum getFullYear getMonth getDayOfYear getDayOfMonth getDate getDayOfWeek
    getHours getMinutes getSeconds getMilliseconds abs sign ceil floor round trunc isNaN isInf isFinite sqrt bitOr
    bitAnd bitXor bitNot bitShiftLeft bitShiftRight""".split()  # noqa: SIM905  a list would be a screen long
)
IN_PYTHON = frozenset(name.rpartition(".")[2] for name in EXTRA_FUNCTIONS)
PAIRWISE = frozenset({"distinct", "contains", "equivalent", "intersects"})
EXPLOSIVE = PAIRWISE | {"replace", "join"}


def shape_of(value: Any) -> Shape:
    kind = type(value)
    if kind is str:
        return (Level(0, 1, len(value)),)
    if kind is list:
        return _around(len(value), [shape_of(item) for item in value])
    if kind is dict:
        below = [shape_of(item) for item in value.values()]
        return _around(len(value), [*below, *((Level(0, 1, len(key)),) for key in value)])
    return LEAF


def cost_of(tokens: list[Token]) -> Cost | None:
    """None if it is little whatever the values are."""
    parser = _Parser(tokens)
    parts = parser.group("")
    if not parser.explosive and parser.operations <= HARMLESS:
        return None
    return partial(_given_back, parts)


def _around(length: int, below: list[Shape]) -> Shape:
    nodes, chars = sum(shape[0].nodes for shape in below), sum(shape[0].chars for shape in below)
    return (Level(length, 1 + nodes, chars), *_largest(below))


def _largest(shapes: Iterable[Shape]) -> Shape:
    levels = zip_longest(*set(shapes), fillvalue=Level(0, 0, 0))
    return tuple(Level(*(max(numbers) for numbers in zip(*level, strict=True))) for level in levels)


def _added(shapes: list[Shape]) -> Shape:
    if len(shapes) == 1:
        return shapes[0]
    own = Level(*(sum(numbers) for numbers in zip(*(shape[0] for shape in shapes), strict=True))) if shapes else Level()
    return (own, *_largest(shape[1:] for shape in shapes))


def _of_any_depth(shape: Shape) -> Shape:
    """It, or something that lies in it."""
    return _largest(shape[depth:] for depth in range(len(shape)))


def _size(shape: Shape) -> int:
    return shape[0].nodes + shape[0].chars // CHARACTERS


class _Parser:
    """Finds operands, whose costs add up whatever the operators between them are; the library minds the grammar."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.operations = 0
        self.explosive = False

    def text(self, further: int = 0) -> str:
        at = self.at + further
        return self.tokens[at].text if at < len(self.tokens) else ""

    def is_name(self, further: int) -> bool:
        at = self.at + further
        return at < len(self.tokens) and self.tokens[at].kind == "name"

    def group(self, closer: str) -> list[Cost]:
        """The parts between commas, up to and over `closer`."""
        parts: list[Cost] = []
        operands: list[Cost] = []
        operators = 0
        while self.at < len(self.tokens) and self.text() != closer:
            if (operand := self.operand()) is not None:
                operands.append(operand)
                continue
            if self.text() in (",", ":"):
                parts.append(partial(_combined, operands, operators))
                operands, operators = [], 0
            else:
                operators += self.text() != "?"
                self.operations += 1
            self.at += 1
        self.at += 1
        return [*parts, partial(_combined, operands, operators)] if operands else parts

    def operand(self) -> Cost | None:
        token = self.tokens[self.at]
        if token.kind in ("string", "number"):
            self.at += 1
            return self.chained(partial(_literal, (Level(0, 1, len(token.text)),)))
        if token.kind == "name" and token.text != "in":
            return self.chained(self.call(None) if self.text(1) == "(" else self.variable())
        if token.text in CLOSERS:
            self.at += 1
            parts = self.group(CLOSERS[token.text])
            return self.chained(partial(_together if token.text == "(" else _collected, parts))
        return None

    def variable(self) -> Cost:
        name = self.text()
        self.at += 1
        return lambda shapes: (shapes.get(name, LEAF), 1)

    def chained(self, cost: Cost) -> Cost:
        """With the fields, indices, methods and macros that follow it."""
        while True:
            if self.text() == "[":
                self.at += 1
                cost = partial(_below, cost, self.group("]"))
            elif self.text() != "." or not self.is_name(1):
                return cost
            elif self.text(2) != "(":
                self.at += 2
                cost = partial(_below, cost, [])
            else:
                self.at += 1
                macro = self.text() in BINDING and self.is_name(2) and self.text(3) == ","
                cost = self.macro(cost) if macro else self.call(cost)

    def macro(self, over: Cost) -> Cost:
        name, variable = self.text(), self.text(2)
        self.at += 4
        self.explosive = True
        return partial(_repeated, name, variable, over, self.group(")"))

    def call(self, receiver: Cost | None) -> Cost:
        name = self.text()
        self.at += 2
        self.operations += 1
        self.explosive |= name in EXPLOSIVE
        known = self.text() if self.text(1) == ")" else ""
        arguments = self.group(")")
        extra = _pattern(known) if name == "matches" else 0
        return partial(_called, name, [receiver, *arguments] if receiver else arguments, extra)


def _pattern(literal: str) -> int:
    """To compile a regular expression, which the library does for each call."""
    if not literal or literal[0] not in "\"'":
        return LARGEST_PATTERN
    plain = 20 * len(literal) + 5_000 * len(re.findall(r"\\[wWpP]", literal))
    plain += 800 * len(re.findall(r"\\[dDsS]|\.|\[\^|\(\?", literal))
    times = [int(number) for number in re.findall(r"(?<=[{,])\d+", literal)] or [1]
    return min(LARGEST_PATTERN, plain * (prod(times) if "(" in literal else max(times)))


# --- the costs


def _literal(shape: Shape, shapes: Shapes) -> tuple[Shape, int]:
    return shape, 1


def _all(parts: Iterable[Cost], shapes: Shapes) -> tuple[list[Shape], int]:
    done = [part(shapes) for part in parts]
    return [shape for shape, _ in done], sum(work for _, work in done)


def _combined(operands: list[Cost], operators: int, shapes: Shapes) -> tuple[Shape, int]:
    found, work = _all(operands, shapes)
    return _added(found), work + operators * sum(map(_size, found))


def _together(parts: list[Cost], shapes: Shapes) -> tuple[Shape, int]:
    found, work = _all(parts, shapes)
    return _added(found), work


def _collected(parts: list[Cost], shapes: Shapes) -> tuple[Shape, int]:
    found, work = _all(parts, shapes)
    made = _around(len(found), found)
    return made, work + made[0].nodes


def _given_back(parts: list[Cost], shapes: Shapes) -> tuple[Shape, int]:
    shape, work = _together(parts, shapes)
    return shape, work + CONVERTED * _size(shape)


def _below(above: Cost, index: list[Cost], shapes: Shapes) -> tuple[Shape, int]:
    (shape, work), (_, more) = above(shapes), _all(index, shapes)
    below = shape[1:] or LEAF
    return below, work + more + below[0].nodes


def _repeated(name: str, variable: str, over: Cost, body: list[Cost], shapes: Shapes) -> tuple[Shape, int]:
    shape, work = over(shapes)
    times, one = shape[0].length, shape[1:] or LEAF
    found, each = _all(body, {**shapes, variable: one})
    work += times * (ROUND + one[0].nodes + each)
    copies = times * (times + 1) // 2
    if name == "filter":
        return shape, work + copies * one[0].nodes
    if name == "map":
        given = _largest(found) or LEAF
        made = Level(times, 1 + times * given[0].nodes, times * given[0].chars)
        return (made, *given), work + copies * given[0].nodes
    return LEAF, work


def _called(name: str, arguments: list[Cost], extra: int, shapes: Shapes) -> tuple[Shape, int]:
    found, work = _all(arguments, shapes)
    given = _added(found)
    work += CALL + extra + (CONVERTED * _size(given) if name in IN_PYTHON else given[0].chars // CHARACTERS)
    if name in PAIRWISE:
        work += given[0].length * given[0].nodes
    made = _made_by(name, found, given)
    return made, work + _size(made)


def _made_by(name: str, found: list[Shape], given: Shape) -> Shape:
    length, nodes, chars = given[0]
    longest = max((shape[0].chars for shape in found[1:]), default=chars)
    if name in SCALARS:
        return LEAF
    if name == "replace":
        return (Level(0, 1, (chars + 1) * (longest + 1)),)
    if name == "join":
        return (Level(0, 1, chars + length * longest),)
    if name == "split":
        return (Level(chars + 1, chars + 2, chars), Level(0, 1, chars))
    if name == "flatten":
        return (Level(nodes, nodes, chars), *_largest(given[depth:] for depth in range(1, len(given))))
    return (given[0]._replace(chars=2 * chars + CHARACTERS), *given[1:]) if len(given) == 1 else _of_any_depth(given)
