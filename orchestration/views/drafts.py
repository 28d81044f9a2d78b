"""What the editors of definitions and agents have in common: the text as typed, its findings, and a lost edit."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from django.http import HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import Member
from orchestration.language import Finding
from ui.addresses import whole_number
from ui.differences import Difference
from ui.sources import SourceLine, source_lines

LONGEST_SHOWN = 200_000  # signs; a text that is longer is found fault with as a whole


class Version(Protocol):
    number: int
    created_by: Member | None


@dataclass
class Draft:
    """What is in the editor. `base`: the version it began with, 0 for none; `agreed`: NAME:NUMBER to save over."""

    text: str
    base: int = 0
    agreed: str = ""
    findings: list[Finding] = field(default_factory=list)
    is_checked: bool = False
    restored: int = 0  # the earlier version whose text it is

    @classmethod
    def of(cls, request: HttpRequest) -> "Draft":
        return cls(text_of(request), whole_number(request.POST.get("base", "")) or 0, request.POST.get("agreed", ""))

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    def found(self, findings: list[Finding]) -> None:
        self.findings, self.is_checked = findings, True

    def lines(self) -> list[SourceLine]:
        """The numbered text, only if something is found in it."""
        return source_lines(self.text, self.findings) if self.findings and len(self.text) <= LONGEST_SHOWN else []

    def seen(self, name: str, edited: str | None) -> int | None:
        """The version of `name` that its writer saw and means to save over; None if they have to be asked first.

        `edited` is whose page it is. Another name than that is another thing, which they may not know of.
        """
        agreed, _, number = self.agreed.partition(":")
        if agreed == name:
            return whole_number(number) or 0
        if edited is None:
            return 0
        return self.base if name == edited else None


@dataclass(frozen=True)
class Conflict:
    """A text would be saved over `newest`, which its writer did not see, or under another name than `edited`."""

    name: str
    edited: str | None
    newest: Version | None
    difference: Difference | None

    @property
    def newest_number(self) -> str:
        return str(self.newest.number) if self.newest else ""

    @property
    def agreement(self) -> str:
        return f"{self.name}:{self.newest_number or 0}"

    @property
    def next_number(self) -> int:
        return self.newest.number + 1 if self.newest else 1

    @property
    def is_other(self) -> bool:
        return self.edited != self.name


def restored(versions: Any, request: HttpRequest) -> Any:
    """The version that the address names; None for no such."""
    number = whole_number(request.GET.get("version", ""))
    return versions.filter(number=number).first() if number else None


def hidden_url(rows: Any, url_name: str) -> str:
    """Of the one called new, made before that name was refused: /new/ is where others are made."""
    row = rows.filter(slug="new", current_version__isnull=False).select_related("current_version").first()
    return reverse(url_name, args=["new", row.current_version.number]) if row else ""


def text_of(request: HttpRequest) -> str:
    """Browsers send lines that end with CR LF."""
    return request.POST.get("text", "").replace("\r\n", "\n")


def findings_answer(findings: list[Finding], *, graph: str = "") -> JsonResponse:
    """For the editor while one types: the findings for its marks, and as the page lists them; a graph's HTML."""
    told = [
        {
            "line": each.line,
            "column": each.column,
            "severity": each.severity,
            "rule": each.rule,
            "message": f"{each.message} {each.fix}".strip(),
        }
        for each in findings
    ]
    listed = render_to_string("ui/findings.html", {"findings": findings, "is_checked": True})
    return JsonResponse({"findings": told, "html": listed, "graph": graph})
