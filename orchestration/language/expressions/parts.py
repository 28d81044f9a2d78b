"""`LIST.map(…)`, `LIST.filter(…)` and chains of them can be evaluated a part of the list after the other.

The library's time for these grows with the square of the list, and no other thread runs meanwhile.
"""

import re
from typing import NamedTuple

from .reads import CLOSERS, Token

LENGTH = 200  # of a part
NAME = "countersign_part"  # in place of the list, and then of what was found
START = re.compile(r"(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\.(?:map|filter)\(")
EACH = ([".", "map", "("], [".", "filter", "("])


class Divided(NamedTuple):
    """Where the list is, the expression over a part of it, and what is done with all that it gave, if anything."""

    path: tuple[str, ...]
    over: str
    then: str | None


def divided(source: str, tokens: list[Token]) -> Divided | None:
    found = START.match(source)
    if found is None or found["path"] == NAME:
        return None
    at = next(number for number, token in enumerate(tokens) if token.start >= found.end("path"))
    while [token.text for token in tokens[at : at + 3]] in EACH:
        at = _after_bracket(tokens, at + 2)
    path = tuple(found["path"].split("."))
    if at >= len(tokens):
        return Divided(path, NAME + source[found.end("path") :], None)
    if not _is_chain(tokens, at):
        return None
    return Divided(path, NAME + source[found.end("path") : tokens[at].start], NAME + source[tokens[at].start :])


def _after_bracket(tokens: list[Token], at: int) -> int:
    depth = 0
    while at < len(tokens):
        depth += (tokens[at].text in CLOSERS) - (tokens[at].text in CLOSERS.values())
        at += 1
        if depth == 0:
            break
    return at


def _is_chain(tokens: list[Token], at: int) -> bool:
    """Whether only methods, fields and indices follow."""
    while at < len(tokens):
        if tokens[at].text in ("(", "["):
            at = _after_bracket(tokens, at)
        elif tokens[at].text == "." or tokens[at].kind == "name":
            at += 1
        else:
            return False
    return True
