from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal


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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A fix that names the nearest known word, or all of them."""
    names = sorted(known)
    if near := get_close_matches(word, names, n=1, cutoff=0.6):
        return f"Did you mean {near[0]}?"
    return f"Known here: {', '.join(names[:20])}." if names else "There are none yet."
