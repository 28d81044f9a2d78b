"""What became of the newest runs and calls, for the lists of definitions and agents."""

import datetime
from collections.abc import Collection
from dataclasses import dataclass, field

from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import TruncDate
from django.utils import timezone

from accounts.models import Member
from orchestration.models import Definition, DefinitionVersion, Run, Step

DAYS = 7
NEWEST_RUNS = 200
BAR_WIDTH, GAP, HEIGHT = 6, 2, 20
FAILED = (Run.Status.FAILED, Run.Status.REJECTED)


@dataclass(slots=True)
class Bar:
    """A day: how many runs that began in it were completed, and how many failed or were rejected."""

    x: int
    good: int = 0
    bad: int = 0
    good_height: int = 0
    bad_height: int = 0

    @property
    def good_y(self) -> int:
        return HEIGHT - self.good_height

    @property
    def bad_y(self) -> int:
        return HEIGHT - self.good_height - self.bad_height

    def scale(self, most: int) -> None:
        """So that the day with the most fills the height, and what there was is seen."""
        self.good_height = max(2, round(self.good * HEIGHT / most)) if self.good else 0
        self.bad_height = max(2, round(self.bad * HEIGHT / most)) if self.bad else 0
        self.good_height = min(self.good_height, HEIGHT - self.bad_height)


@dataclass(slots=True)
class Success:
    """The last seven days of a definition, today being the last bar."""

    bars: list[Bar] = field(default_factory=lambda: [Bar(n * (BAR_WIDTH + GAP)) for n in range(DAYS)])

    @property
    def good(self) -> int:
        return sum(bar.good for bar in self.bars)

    @property
    def ended(self) -> int:
        return sum(bar.good + bar.bad for bar in self.bars)

    @property
    def percent(self) -> int | None:
        return round(100 * self.good / self.ended) if self.ended else None


def success_of_seven_days(member: Member) -> dict[int, Success]:
    """By the definition's key; runs by the day they began, in the reader's zone. Canceled ones count for nothing."""
    today = timezone.localdate()
    first = today - datetime.timedelta(days=DAYS - 1)
    begin = timezone.make_aware(datetime.datetime.combine(first, datetime.time()))
    counts = (
        Run.objects.visible_to(member)
        .filter(created_at__gte=begin, ended_at__isnull=False)
        .values("definition_version__definition_id", day=TruncDate("created_at"))
        .annotate(good=Count("pk", filter=Q(status=Run.Status.COMPLETED)), bad=Count("pk", filter=Q(status__in=FAILED)))
        .order_by()
    )
    found: dict[int, Success] = {}
    for row in counts:
        place = (row["day"] - first).days
        if 0 <= place < DAYS:
            bar = found.setdefault(row["definition_version__definition_id"], Success()).bars[place]
            bar.good, bar.bad = row["good"], row["bad"]
    for success in found.values():
        most = max(1, *(bar.good + bar.bad for bar in success.bars))
        for bar in success.bars:
            bar.scale(most)
    return found


def last_runs(definitions: Collection[Definition]) -> dict[int, Run]:
    """The newest run of each, by the definition's key. Two queries."""
    newest = Run.objects.filter(definition_version=OuterRef("pk")).order_by("-id").values("pk")[:1]
    versions = DefinitionVersion.objects.filter(definition__in=definitions).annotate(last=Subquery(newest))
    last: dict[int, int] = {}
    for definition, run in versions.values_list("definition_id", "last"):
        if run is not None:
            last[definition] = max(run, last.get(definition, 0))
    runs = Run.objects.defer("input", "output").in_bulk(last.values())
    return {definition: runs[run] for definition, run in last.items() if run in runs}


def calls_of_newest_runs(member: Member) -> dict[int, dict[str, int]]:
    """{calls, failed} by the agent version's key, over the newest runs of the organization."""
    newest = Run.objects.visible_to(member).order_by("-created_at", "-id").values_list("pk", flat=True)[:NEWEST_RUNS]
    counts = (
        Step.objects.filter(run_id__in=list(newest), agent_version_id__isnull=False, started_at__isnull=False)
        .values("agent_version_id")
        .annotate(calls=Count("key"), failed=Count("key", filter=Q(status=Step.Status.FAILED)))
        .order_by()
    )
    return {row["agent_version_id"]: {"calls": row["calls"], "failed": row["failed"]} for row in counts}
