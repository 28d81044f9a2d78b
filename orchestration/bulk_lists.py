"""Which bulk actions a list shows, and how each is told in a row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from accounts.models import Member
from orchestration.engine.bulk import LEVERS
from orchestration.lever import Lever
from orchestration.models import Bulk
from orchestration.models.bulk import BulkQuerySet
from orchestration.run_lists import Filters

OPEN, ENDED = "open", "ended"
STATES = {"": "Any state", OPEN: "Under way", ENDED: "Ended"}
MOST_PEOPLE = 500  # to choose from


@dataclass
class Asked:
    """As the address says it; `problems` tells in words what in it is nonsense and was left out."""

    state: str = ""
    lever: str = ""
    by: str = ""
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        state, lever, by = (query.get(name, "").strip()[:150] for name in ("state", "lever", "by"))
        found = cls(state, lever, by)
        if found.state not in STATES:
            found.problems.append(f"No action has the state “{found.state[:40]}”.")
            found.state = ""
        if found.lever and found.lever not in LEVERS:
            found.problems.append(f"No lever for many runs is called “{found.lever[:40]}”.")
            found.lever = ""
        return found

    @property
    def words(self) -> dict[str, str]:
        """Of the address."""
        said = {"state": self.state, "lever": self.lever, "by": self.by}
        return {name: value for name, value in said.items() if value}

    def rows(self, member: Member) -> BulkQuerySet:
        rows = Bulk.objects.visible_to(member)
        if self.state:
            rows = rows.filter(ended_at__isnull=self.state == OPEN)
        if self.lever:
            rows = rows.filter(action=self.lever)
        return rows.filter(by__user__username=self.by) if self.by else rows


@dataclass(frozen=True, slots=True)
class Row:
    """`chosen` are words for which runs; `runs_url` is their list as it is now, "" for those chosen one by one."""

    bulk: Bulk
    lever: Lever | None
    chosen: str
    runs_url: str


def rows_of(found: Iterable[Bulk]) -> list[Row]:
    return [Row(bulk, LEVERS.get(bulk.action), *_chosen(bulk)) for bulk in found]


def _chosen(bulk: Bulk) -> tuple[str, str]:
    if "ids" in bulk.filters:
        return "Chosen one by one", ""
    query = QueryDict(bulk.filters.get("query", ""))
    return Filters.of(query).in_words or "All runs", f"{reverse('pages:runs')}?{query.urlencode()}"


def people_of(member: Member) -> list[str]:
    """Who has done any, by name."""
    names = Bulk.objects.visible_to(member).order_by("by__user__username").values_list("by__user__username", flat=True)
    return list(names.distinct()[:MOST_PEOPLE])


def address(asked: Asked, **more: str) -> str:
    query = urlencode({**asked.words, **more})
    return f"{reverse('pages:runs-actions')}{'?' if query else ''}{query}"
