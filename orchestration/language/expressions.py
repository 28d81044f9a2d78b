"""CEL expressions and `${{ }}` templates over JSON, and the typing of JSON by its schema.

CEL does not mix ints and doubles, and JSON does not tell them apart; so a value whose schema says `number` becomes a
float and every other whole number an int (`Typing`) before an expression sees it. What comes back is plain JSON again.
Only what an expression reads is converted for it: about 5 µs an evaluation however large the run's outputs are.
"""

import base64
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import cel
from cel.stdlib import STDLIB_FUNCTIONS

from .reads import Read, Scan, TooDeep, end_of_template, scan
from .typing import LARGEST_INT, SMALLEST_INT, Typing, TypingError

LONGEST_EXPRESSION = 4_000
CORE_FUNCTIONS = frozenset(
    [
        "has",
        "all",
        "exists",
        "exists_one",
        "map",
        "filter",
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "timestamp",
        "duration",
        "type",
        "dyn",
        "optional.of",
        "optional.none",
        "optional.ofNonZeroValue",
        "hasValue",
        "value",
        "or",
        "orValue",
        "getFullYear",
        "getMonth",
        "getDayOfYear",
        "getDayOfMonth",
        "getDate",
        "getDayOfWeek",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ]
)
# lists.range could fill the memory of a worker with one short expression; contains is CEL's own
EXTRA_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: function for name, function in STDLIB_FUNCTIONS.items() if name not in {"lists.range", "contains"}
}
FUNCTIONS = CORE_FUNCTIONS | EXTRA_FUNCTIONS.keys()
_ABSENT = object()

__all__ = [
    "FUNCTIONS",
    "Condition",
    "Expression",
    "ExpressionError",
    "Names",
    "Template",
    "Typing",
    "TypingError",
    "compile_condition",
    "compile_expression",
    "compile_template",
    "names_read",
    "typed",
]


class ExpressionError(Exception):
    """An expression cannot be compiled or gives no JSON value. `offset` counts characters into the expression."""

    def __init__(self, message: str, *, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


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

    __slots__ = ("_extra", "_path", "_program", "_wanted", "functions", "reads", "source")

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST_EXPRESSION:
            raise ExpressionError(f"an expression of {len(source)} characters; at most {LONGEST_EXPRESSION} are taken")
        found = _scanned(source)
        self.source = source
        self._program = _program(source)
        self.reads: tuple[Read, ...] = tuple(found.reads)
        self.functions: Mapping[str, int] = found.functions
        self._wanted = _wanted(found.reads)
        self._path = found.reads[0].path if found.is_plain_path else None
        self._extra = {name: EXTRA_FUNCTIONS[name] for name in found.functions if name in EXTRA_FUNCTIONS}

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
        if self._path is not None and (value := _follow(context, self._path)) is not _ABSENT:
            return self._plain(value)
        variables = _pruned(self._wanted, context)
        try:
            if self._extra:
                value = self._program.execute(cel.Context(variables=variables, functions=self._extra))
            else:
                value = self._program.execute(variables)
        except (LookupError, ValueError, TypeError, RuntimeError, ArithmeticError) as exc:
            raise ExpressionError(f"`{self.source}`: {_reason(exc)}") from exc
        return self._plain(value)

    def _plain(self, value: Any) -> Any:
        try:
            return _plain(value)
        except NotPlain as exc:
            raise ExpressionError(f"`{self.source}`: {exc}") from exc
        except RecursionError as exc:
            raise ExpressionError(f"`{self.source}`: the result nests too deeply") from exc


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


@dataclass(frozen=True, slots=True)
class Part:
    """An expression in a string: `start` and `end` are those of its `${{ }}`, `inner` of the expression itself."""

    expression: Expression
    start: int
    inner: int
    end: int


class Template:
    """A JSON value with `${{ }}` in its strings, compiled once; threads may share it."""

    __slots__ = ("_evaluate", "expressions")

    def __init__(self, value: Any) -> None:
        self.expressions: list[Expression] = []
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
        self.expressions += [part.expression for part in parts if isinstance(part, Part)]
        if not self.expressions or not any(isinstance(part, Part) for part in parts):
            return lambda context: text
        if len(parts) == 1 and isinstance(parts[0], Part):
            return parts[0].expression.evaluate
        pieces = [part if isinstance(part, str) else part.expression for part in parts]
        return lambda context: "".join(
            piece if isinstance(piece, str) else as_text(piece.evaluate(context)) for piece in pieces
        )


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
        parts.append(Part(expression, start, inner, end + 2))
        at = end + 2
    if at < len(text) or not parts:
        parts.append(text[at:])
    return parts


@lru_cache(maxsize=8192)
def compile_expression(source: str) -> Expression:
    """`source` is bare CEL, without `${{ }}`. Raises ExpressionError."""
    return Expression(source.strip())


def compile_condition(source: str) -> Condition:
    """`source` is bare CEL or one `${{ }}`, as in a plan's `if`. Raises ExpressionError."""
    return Condition(compile_expression(bare(source)))


def compile_template(value: Any) -> Template:
    """Raises ExpressionError if an expression in `value` does not compile."""
    return Template(value)


def bare(source: str) -> str:
    """The expression of a condition, which may stand in `${{ }}` or without."""
    stripped = source.strip()
    if stripped.startswith("${{") and end_of_template(stripped, 3) == len(stripped) - 2:
        return stripped[3:-2].strip()
    return stripped


def names_read(expression: str) -> Names:
    return compile_expression(bare(expression)).names


def typed(value: Any, schema: Any = None) -> Any:
    """`value` with numbers as its schema says (better: keep a `Typing`). Raises ExpressionError beyond 64 bits."""
    try:
        return Typing(schema).apply(value)
    except TypingError as exc:
        raise ExpressionError(str(exc)) from exc


def as_text(value: Any) -> str:
    """A JSON value inside text: strings as they are, all else as JSON, whole doubles without their `.0`."""
    if isinstance(value, str):
        return value
    return json.dumps(_whole_as_ints(value), ensure_ascii=False, separators=(", ", ": "))


class NotPlain(Exception):
    """A value that JSON, or the database, cannot hold."""


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        if "\0" in value:
            raise NotPlain("the text holds a zero character, which cannot be stored")
        return value
    if value is None or kind is bool:
        return value
    if kind is int:
        if not SMALLEST_INT <= value <= LARGEST_INT:
            raise NotPlain(f"{value} does not fit into 64 bits")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise NotPlain(
                f"the result is {'not a number' if math.isnan(value) else 'infinite'}, which JSON cannot hold"
            )
        return value
    if kind is dict:
        return {_plain_key(key): _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    return _plain_rare(value)


def _plain_rare(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
    if isinstance(value, cel.OptionalValue):
        return _plain(value.value()) if value.has_value() else None
    raise NotPlain(f"the result is a {type(value).__name__}, which JSON cannot hold")


def _plain_key(key: Any) -> str:
    if not isinstance(key, str):
        raise NotPlain(f"the key {key} of a map is not text, as JSON needs it")
    return str(_plain(key))


def _whole_as_ints(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_as_ints(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_as_ints(item) for item in value]
    return value


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
        offset, reason = _syntax(source, str(exc))
        raise ExpressionError(f"`{source}`: {reason}", offset=offset) from exc


def _syntax(source: str, message: str) -> tuple[int, str]:
    """The library says `… ERROR: <input>:LINE:COLUMN: reason expecting {…}`, with a picture under it."""
    _, found, rest = message.partition("<input>:")
    line, _, rest = rest.partition(":")
    column, _, rest = rest.partition(":")
    if not found or not line.isdecimal() or not column.isdecimal():
        return 0, message.splitlines()[0]
    reason = (
        rest.strip()
        .splitlines()[0]
        .partition(" expecting ")[0]
        .replace("Syntax error: ", "")
        .replace("'<EOF>'", "its end")
    )
    before = source.split("\n")[: int(line) - 1]
    return min(sum(len(text) + 1 for text in before) + int(column) - 1, len(source)), f"syntax error: {reason}"


def _reason(exc: Exception) -> str:
    if isinstance(exc, KeyError):
        return f"there is no field {exc.args[0]!r}" if exc.args else "a field is missing"
    text = str(exc).strip()
    if text.startswith("No such overload"):
        return "these values do not fit together (null or another type than expected; CEL does not mix int and double)"
    if text.startswith("Undefined variable or function"):
        return text.partition(". Check")[0]
    return text


Wanted = dict[str, "Wanted | None"]


def _wanted(reads: Collection[Read]) -> Wanted:
    """The tree of what is read; None means the whole of it. Lists are taken whole."""
    tree: Wanted = {}
    for read in reads:
        keys = _keys(read.path)
        at = tree
        for key in keys[:-1]:
            below = at.setdefault(key, {})
            if below is None:
                break
            at = below
        else:
            at[keys[-1]] = None
    return tree


def _keys(path: tuple[str | int, ...]) -> list[str]:
    keys: list[str] = []
    for key in path:
        if isinstance(key, int):
            break
        keys.append(key)
    return keys


def _pruned(wanted: Wanted, value: Any) -> Any:
    return {
        key: value[key] if below is None or type(value[key]) is not dict else _pruned(below, value[key])
        for key, below in wanted.items()
        if key in value
    }


def _follow(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        if type(value) is dict:
            if key not in value:
                return _ABSENT
            value = value[key]
        elif type(value) is list and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return _ABSENT
    return value


def _kind(value: Any) -> str:
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return type(value).__name__


_KINDS: tuple[tuple[type, str], ...] = (
    (type(None), "null"),
    (bool, "a truth value"),
    (int, "a number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "an object"),
)
