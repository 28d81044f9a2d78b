"""Which runs a list shows: the filters of its address, and what its rows tell beside the run."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, F, FloatField, Func, IntegerField, Q, QuerySet, Sum, TextField, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.db.models.lookups import LessThanOrEqual
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts.models import Member
from orchestration.labels import PREFIX, having, labels_of
from orchestration.models import DefinitionVersion, Run, Step
from ui.statuses import look_of

OPEN, UNCERTAIN = "open", "uncertain"
STATUSES: dict[str, str] = {
    "": "Any status",
    OPEN: "Not ended",
    UNCERTAIN: look_of("uncertain").word,
    "failed,rejected": "Failed or rejected",
    **{str(status): look_of(status).word for status in Run.Status if status != Run.Status.PLANNING},
}
TIMES = {"": "Any time", "today": "Today", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days"}
HOURS = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24}
SEARCHED = 10_000  # runs, the newest of those that the other filters leave; docs/performance.md has what it costs
SEARCHED_BYTES = 8_000  # of an input, as it is stored: a larger one is not looked into
LONGEST_SEARCH = 200
MOVING = ("uncertain", "running", "waiting", "ready")  # the most urgent first
SHOWN = 50


@dataclass
class Filters:
    """As the address says it; `problems` tells in words what in it is nonsense and was left out."""

    statuses: list[str] = field(default_factory=list)
    definition: str = ""
    time: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    mine: bool = False
    archived: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, query: QueryDict) -> "Filters":
        found = cls(definition=query.get("definition", "")[:100], text=query.get("q", "").strip()[:LONGEST_SEARCH])
        found.text = found.text.replace("\0", "")
        found.mine = query.get("mine") == "1"
        found.archived = query.get("archived") == "1"
        found.labels = labels_of(query)
        for status in filter(None, ",".join(query.getlist("status")).split(",")):
            if status in STATUSES and status not in found.statuses:
                found.statuses.append(status)
            elif status not in STATUSES:
                found.problems.append(f"No run has the status “{status[:40]}”.")
        found.time = query.get("time", "")
        if found.time not in TIMES and found.time != "all":
            found.problems.append(f"“{found.time[:40]}” is no time that can be chosen.")
            found.time = ""
        found.since = found._moment(query.get("from", ""), after=False)
        found.until = found._moment(query.get("to", ""), after=True)
        return found

    def _moment(self, words: str, *, after: bool) -> datetime | None:
        """A day or a moment, in the reader's zone where none is given; a day's end for `after`."""
        if not words:
            return None
        try:
            moment = parse_datetime(words) if len(words) > len("2026-11-21") else None
            day = parse_date(words) if moment is None else None
        except ValueError:
            moment = day = None
        if day is not None:
            moment = _begin(day + timedelta(days=1) if after and day < date.max else day)
        if moment is None:
            self.problems.append(f"“{words[:40]}” is no time; write 2026-11-21 or 2026-11-21T08:30.")
            return None
        return timezone.make_aware(moment) if timezone.is_naive(moment) else moment

    @property
    def status_value(self) -> str:
        """As the choice of statuses names them."""
        return ",".join(self.statuses)

    @property
    def is_any(self) -> bool:
        words = (self.statuses, self.definition, self.text, self.since, self.until, self.mine, self.archived)
        return any(words) or bool(self.labels) or self.time not in ("", "all")

    @property
    def in_words(self) -> str:
        """ "Failed or Rejected, definition order"; "" where nothing is filtered."""
        words = [" or ".join(STATUSES[status] for status in self.statuses)]
        words += [f"definition {self.definition}" if self.definition else "", f"“{self.text}”" if self.text else ""]
        words += [TIMES[self.time].lower() if self.time in HOURS or self.time == "today" else ""]
        moments = (("from", self.since), ("to", self.until))
        words += [f"{word} {timezone.localtime(moment):%Y-%m-%d %H:%M %Z}" for word, moment in moments if moment]
        words += [f"{name}={value}" for name, value in self.labels.items()]
        words += ["started by who asked" if self.mine else "", "archived" if self.archived else ""]
        return ", ".join(filter(None, words))

    def query(self, **changes: Any) -> str:
        """The address's query, with changes; "" leaves one out."""
        words: dict[str, Any] = {
            "q": self.text,
            "status": self.statuses,
            "definition": self.definition,
            "time": self.time,
            "from": self.since.isoformat() if self.since else "",
            "to": self.until.isoformat() if self.until else "",
            "mine": "1" if self.mine else "",
            "archived": "1" if self.archived else "",
            **{f"{PREFIX}{name}": value for name, value in self.labels.items()},
        }
        words |= changes
        return urlencode({name: value for name, value in words.items() if value}, doseq=True)

    def runs(self, member: Member) -> QuerySet[Run]:
        """Newest first, with what a row shows."""
        rows = Run.objects.visible_to(member).for_list().without_values()
        rows = rows.filter(
            self._by_status(), self._by_time(), having(self.labels), archived_at__isnull=not self.archived
        )
        if self.definition:
            rows = rows.filter(definition_version__definition__slug=self.definition)
        if self.mine:
            rows = rows.filter(started_by=member)
        return self._searched(rows, member) if self.text else rows

    def _by_status(self) -> Q:
        wanted = Q()
        for status in self.statuses:
            if status == OPEN:
                wanted |= Q(ended_at=None)
            elif status == UNCERTAIN:
                stuck = Step.objects.filter(status=Step.Status.UNCERTAIN).values("run_id")
                wanted |= Q(pk__in=stuck, ended_at=None)
            else:
                wanted |= Q(status=status)
        return wanted

    def _by_time(self) -> Q:
        since = self.since
        if since is None and self.time == "today":
            since = _begin(timezone.localdate())
        elif since is None and self.time in HOURS:
            since = timezone.now() - timedelta(hours=HOURS[self.time])
        wanted = Q(created_at__gte=since) if since else Q()
        return wanted & Q(created_at__lt=self.until) if self.until else wanted

    def _searched(self, rows: QuerySet[Run], member: Member) -> QuerySet[Run]:
        """By the whole id through its index; by all else among the newest SEARCHED."""
        if self.text.startswith("run_"):
            return rows.filter(public_id__startswith=self.text)
        hidden = DefinitionVersion.objects.hidden_from(member).values("pk")
        newest = rows.select_related(None).defer(None).values("pk")[:SEARCHED]
        found = Run.objects.filter(pk__in=newest).annotate(input_text=small_input())
        found = found.for_list().without_values()
        return found.filter(
            Q(input_text__icontains=self.text) & ~Q(definition_version__in=hidden)
            | Q(definition_version__definition__slug__icontains=self.text)
            | Q(public_id__endswith=self.text)
        )


def small_input(column: str = "input") -> Case:
    """As text; "" for large ones, which are not even read then."""
    size = Func(F(column), function="pg_column_size", output_field=IntegerField())
    text = When(condition=LessThanOrEqual(size, SEARCHED_BYTES), then=Cast(column, TextField()))
    return Case(text, default=Value(""), output_field=TextField())


def _begin(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


def older_than(rows: QuerySet[Run], run: Run) -> QuerySet[Run]:
    return rows.filter(created_at__lte=run.created_at).exclude(created_at=run.created_at, pk__gte=run.pk)


@dataclass(frozen=True, slots=True)
class Row:
    """`steps` are the names of those at work or waiting, `waits_for` is of the first of them.

    `until` when, after how many attempts. `status` is the run's; but that a step's result is unknown is told before
    that the run waits.
    """

    run: Run
    status: str
    steps: Sequence[str]
    waits_for: str | None
    until: datetime | None
    attempt: int
    usd: float | None
    simulated: bool


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """Two queries, however many runs."""
    runs = list(runs)
    ids = [run.pk for run in runs]
    current = _current(ids)
    cost = _cost(ids)
    return [_row(run, current.get(run.pk, []), cost.get(run.pk, (None, False))) for run in runs]


def _row(run: Run, steps: Sequence[Step], cost: tuple[float | None, bool]) -> Row:
    first = steps[0] if steps and run.status == Run.Status.WAITING else None
    still = run.status in (Run.Status.WAITING, Run.Status.CANCELING)
    status = "uncertain" if still and steps and steps[0].status == Step.Status.UNCERTAIN else run.status
    names = [step.name for step in steps]
    if first is None:
        return Row(run, status, names, None, None, 0, *cost)
    return Row(run, status, names, first.waits_for, first.wake_at, first.attempt, *cost)


def _current(ids: Sequence[int]) -> Mapping[int, list[Step]]:
    found: dict[int, list[Step]] = defaultdict(list)
    rows = Step.objects.shown().filter(run_id__in=ids, status__in=MOVING)
    for step in rows.only("run_id", "key", "name", "status", "waits_for", "wake_at", "attempt", "position").order_by(
        "position"
    ):
        found[step.run_id].append(step)
    for steps in found.values():
        steps.sort(key=lambda step: MOVING.index(step.status))
    return found


def simulated_among(ids: Iterable[int]) -> set[int]:
    """Those of the runs in which a stand-in took part."""
    rows = Step.objects.filter(run_id__in=list(ids), usage__simulated=True).order_by()
    return set(rows.values_list("run_id", flat=True).distinct())


def _cost(ids: Sequence[int]) -> Mapping[int, tuple[float | None, bool]]:
    rows = Step.objects.filter(run_id__in=ids, usage__isnull=False).order_by()
    used = rows.values_list("run_id", KT("usage__simulated")).annotate(
        usd=Sum(Cast(KT("usage__cost_usd"), FloatField()))
    )
    found: dict[int, tuple[float | None, bool]] = {}
    for run, simulated, usd in used:
        before, was = found.get(run, (None, False))
        total = usd if before is None else before if usd is None else before + usd
        found[run] = (total, was or simulated == "true")
    return found
