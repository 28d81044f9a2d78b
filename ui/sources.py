"""A text with numbered lines, for `ui/source.html`: each line an anchor, those that were found fault with marked."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class SourceLine:
    number: int
    text: str
    findings: list[Any] = field(default_factory=list)

    @property
    def has_error(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)


def source_lines(text: str, findings: Iterable[Any] = ()) -> list[SourceLine]:
    """`findings` have `line` (from 1), `severity` and `message`; what lies beyond the text goes to its last line."""
    lines = [SourceLine(number, line) for number, line in enumerate(text.split("\n"), start=1)]
    if len(lines) > 1 and not lines[-1].text:
        lines.pop()
    for finding in findings:
        lines[min(max(finding.line, 1), len(lines)) - 1].findings.append(finding)
    return lines
