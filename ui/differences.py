"""What differs between two texts, line by line, for `ui/difference.html`."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

CONTEXT_LINES = 3
MOST_LINES = 6000  # of both; what is longer would take seconds to compare
LONGEST_LINE = 2000  # signs shown of a line
WORDS = {"-": "removed", "+": "added", " ": "the same"}


@dataclass(frozen=True, slots=True)
class Line:
    """`sign` is "-", "+", " " or, where lines that did not change are left out, "…". Numbers count from 1."""

    sign: str
    text: str
    before: int | None = None
    after: int | None = None

    @property
    def word(self) -> str:
        return WORDS.get(self.sign, "")


@dataclass(frozen=True, slots=True)
class Difference:
    lines: list[Line]
    added: int = 0
    removed: int = 0
    too_long: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.lines and not self.too_long


def difference(before: str, after: str) -> Difference:
    """Without lines if they are the same, or too long to compare here."""
    if before == after:
        return Difference([])
    old, new = before.split("\n"), after.split("\n")
    if len(old) + len(new) > MOST_LINES:
        return Difference([], too_long=True)
    lines = list(_lines(old, new))
    return Difference(lines, _count(lines, "+"), _count(lines, "-"))


def _count(lines: list[Line], sign: str) -> int:
    return sum(line.sign == sign for line in lines)


def _lines(old: list[str], new: list[str]) -> Iterator[Line]:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=len(old) + len(new) > 400)
    for number, group in enumerate(matcher.get_grouped_opcodes(CONTEXT_LINES)):
        if number or group[0][1] > 0:
            yield Line("…", f"line {group[0][1] + 1}")
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                for offset, text in enumerate(old[old_start:old_end]):
                    yield Line(" ", _cut(text), old_start + offset + 1, new_start + offset + 1)
                continue
            for number_before, text in enumerate(old[old_start:old_end], start=old_start + 1):
                yield Line("-", _cut(text), before=number_before)
            for number_after, text in enumerate(new[new_start:new_end], start=new_start + 1):
                yield Line("+", _cut(text), after=number_after)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} … {len(text) - LONGEST_LINE} signs more"
