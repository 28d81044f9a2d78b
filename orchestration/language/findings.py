"""What is wrong with a text, where, and what to write instead."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from django.conf import settings

from .nodes import Node


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing to change in a definition's text. `line` and `column` count from 1; `fix` says what to write."""

    file: str
    line: int
    column: int
    rule: str
    message: str
    fix: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message} {self.fix} [{self.rule}]"


class Findings:
    """Those of one text, as they are found."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.found: list[Finding] = []

    def at(self, node: Node, rule: str, message: str, fix: str) -> None:
        self.found.append(Finding(self.file, node.line, node.column, rule, message, fix))

    def within(self, node: Node, words: str, offset: int, rule: str, message: str, fix: str) -> None:
        """At a character of a node's words, if these stand in the text as they are; else at the node."""
        start = self.text.find(words, node.start, node.end)
        if start < 0:
            # folded over lines, or with escapes: the rest of its line may still stand there as it is
            rest = words[offset:].split("\n")[0][:40]
            start = self.text.find(rest, node.start, node.end) - offset if rest.strip() else -1
            if start + offset < node.start:
                self.at(node, rule, message, fix)
                return
        self.found.append(Finding(self.file, *place_in(self.text, start + offset), rule, message, fix))


def place_in(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a character."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def at_most(setting: str) -> str:
    """A fix that names the limit."""
    return f"At most {getattr(settings, setting):,} are taken (setting {setting})."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A fix that names the nearest known word, or all of them."""
    names = sorted(known)
    if near := get_close_matches(word, names, n=1, cutoff=0.6):
        return f"Did you mean {near[0]}?"
    return f"Known here: {', '.join(names[:20])}." if names else "There are none yet."
