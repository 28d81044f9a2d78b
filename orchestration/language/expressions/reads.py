"""What a CEL expression reads, found by its tokens: the CEL library parses, but shows no tree.

`scan` never decides whether an expression is valid; the library does that. It finds the paths (`steps.x.output.rows`),
the functions, and where in the text each stands, so that findings can point at it and an evaluation converts only what
is read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||[=!<>]=|.)""",
    re.VERBOSE | re.DOTALL,
)
CLOSERS = {"(": ")", "[": "]", "{": "}"}
LITERALS = frozenset({"true", "false", "null", "in"})
TYPES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"})
NAMESPACES = frozenset({"math", "sets", "strings", "base64", "optional"})
WORDS = LITERALS | TYPES | NAMESPACES  # that are no variables
BINDING = frozenset({"all", "exists", "exists_one", "map", "filter"})
DEEPEST = 64


class TooDeep(Exception):
    """An expression nests deeper than anyone can read."""


class Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Read:
    """A path as written. `tested` inside has(); `dynamic` when an index that only the run knows follows it."""

    path: tuple[str | int, ...]
    offsets: tuple[int, ...]
    tested: bool = False
    dynamic: bool = False


@dataclass(slots=True)
class Scan:
    reads: list[Read] = field(default_factory=list)
    functions: dict[str, int] = field(default_factory=dict)
    is_plain_path: bool = False


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    for match in TOKEN.finditer(text, start):
        if match.lastgroup and match.lastgroup != "space":
            yield Token(match.lastgroup, match.group(), match.start(), match.end())


def end_of_template(text: str, start: int) -> int | None:
    """Where the `}}` begins that ends an expression begun at `start`; strings and map literals may hold braces."""
    depth = 0
    for token in tokens(text, start):
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            if depth == 0:
                return token.start if text.startswith("}}", token.start) else None
            depth -= 1
    return None


def scan(expression: str) -> Scan:
    """Raises TooDeep beyond 64 levels of brackets."""
    scanner = _Scanner(list(tokens(expression)))
    scanner.run(0, "", frozenset(), tested=False)
    found = scanner.found
    found.is_plain_path = len(found.reads) == 1 and scanner.path_ends_at == len(scanner.tokens) and not found.functions
    return found


class _Scanner:
    def __init__(self, items: list[Token]) -> None:
        self.tokens = items
        self.found = Scan()
        self.depth = 0
        self.path_ends_at = -1

    def text(self, at: int) -> str:
        return self.tokens[at].text if at < len(self.tokens) else ""

    def kind(self, at: int) -> str:
        return self.tokens[at].kind if at < len(self.tokens) else ""

    def run(self, at: int, closer: str, bound: frozenset[str], *, tested: bool) -> int:
        """Scan up to and over `closer`; the index after it."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise TooDeep
        while at < len(self.tokens):
            token = self.tokens[at]
            if token.text == closer:
                at += 1
                break
            if token.kind == "name":
                at = self.name(at, bound, tested=tested)
            elif token.text == "." and self.kind(at + 1) == "name":
                at = self.member(at + 1, bound)
            elif token.text in CLOSERS:
                at = self.run(at + 1, CLOSERS[token.text], bound, tested=False)
            else:
                at += 1
        self.depth -= 1
        return at

    def name(self, at: int, bound: frozenset[str], *, tested: bool) -> int:
        token = self.tokens[at]
        if self.text(at + 1) == "(":
            self.found.functions.setdefault(token.text, token.start)
            return self.run(at + 2, ")", bound, tested=token.text == "has")
        if token.text in LITERALS or token.text in TYPES or token.text in bound:
            return at + 1
        if token.text in NAMESPACES and self.text(at + 1) == "." and self.text(at + 3) == "(":
            self.found.functions.setdefault(f"{token.text}.{self.text(at + 2)}", token.start)
            return self.run(at + 4, ")", bound, tested=False)
        return self.path(at, tested=tested)

    def path(self, at: int, *, tested: bool) -> int:
        start = at
        steps: list[str | int] = [self.tokens[at].text]
        offsets = [self.tokens[at].start]
        at += 1
        dynamic = False
        while True:
            if self.text(at) == "." and self.kind(at + 1) == "name" and self.text(at + 2) != "(":
                steps.append(self.text(at + 1))
                offsets.append(self.tokens[at + 1].start)
                at += 2
            elif (
                self.text(at) == "[" and self.text(at + 2) == "]" and (key := _literal(self.tokens[at + 1])) is not None
            ):
                steps.append(key)
                offsets.append(self.tokens[at + 1].start)
                at += 3
            else:
                dynamic = self.text(at) == "["
                break
        self.found.reads.append(Read(tuple(steps), tuple(offsets), tested, dynamic))
        self.path_ends_at = at if start == 0 else -1
        return at

    def member(self, at: int, bound: frozenset[str]) -> int:
        """A field or a method of something that is not a path, or a path's method."""
        token = self.tokens[at]
        if self.text(at + 1) != "(":
            return at + 1
        self.found.functions.setdefault(token.text, token.start)
        if token.text in BINDING and self.kind(at + 2) == "name" and self.text(at + 3) == ",":
            return self.run(at + 4, ")", bound | {self.text(at + 2)}, tested=False)
        return self.run(at + 2, ")", bound, tested=False)


def _literal(token: Token) -> str | int | None:
    if (
        token.kind == "string"
        and token.text[0] in "\"'"
        and "\\" not in token.text
        and token.text[:3] not in ('"""', "'''")
    ):
        return token.text[1:-1]
    if token.kind == "number" and token.text.isdecimal():
        return int(token.text)
    return None
