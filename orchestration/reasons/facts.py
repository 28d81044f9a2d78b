"""What reasons are found in, each kind of rows read once and only when asked for; of many alike, the first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, F, Q, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django.utils.functional import cached_property

from approvals.models import ANSWERED, Request, Status
from orchestration.models import Event, Run, Step, Worker
from orchestration.reasons import Part, Words, phrase
from ui.templatetags.ui import counted

MOST = 20  # steps of one status, questions, that are told one by one
MOST_RUNS = 200  # below this one that are looked through for questions
MOST_MOVES = 5_000  # events that are looked through, the newest
LONGEST_QUOTE = 300
OPENED = ("run.round_opened", "run.resumed")  # set steps free without a word of each
LARGE = ("input", "output", "feedback", "dependants", "reads")
UNTOLD = (*Step.ENDED, Step.Status.BLOCKED)


class Group(NamedTuple):
    """Steps of one status that wait for the same: the first, those due or begun first at the front, and how many."""

    steps: Sequence[Step] = ()
    total: int = 0

    def but(self, others: Iterable[Step]) -> Group:
        gone = list(others)
        return Group([step for step in self.steps if step not in gone], self.total - len(gone))


class Facts:
    """`now` is read once, so that all that is said of the run agrees. `steps`: those of the newest round, if they have
    been read already."""

    def __init__(self, run: Run, *, now: datetime | None = None, steps: Sequence[Step] | None = None) -> None:
        self.run = run
        self.now = now or timezone.now()
        self.steps = steps

    # --- rows

    @cached_property
    def groups(self) -> dict[tuple[str, str | None], Group]:
        """By (status, waits_for); the run's own output is told by none."""
        if self.run.has_ended:
            return {}
        return self._read() if self.steps is None else self._found(self.steps)

    def _read(self) -> dict[tuple[str, str | None], Group]:
        """Of a run with many steps, no more than are told."""
        alike = [F("status"), F("waits_for")]
        rows = (
            Step.objects.filter(run=self.run)
            .exclude(Q(kind__in=("output", "start")) | Q(status__in=UNTOLD))
            .annotate(
                total=Window(Count("key"), partition_by=alike),
                place=Window(RowNumber(), partition_by=alike, order_by=("wake_at", "started_at", "key")),
            )
            .filter(place__lte=MOST)
            .defer(*LARGE)
        )
        found: dict[tuple[str, str | None], list[Any]] = {}
        for step in rows.order_by("place"):
            found.setdefault((step.status, step.waits_for), []).append(step)
        return {named: Group(steps, steps[0].total) for named, steps in found.items()}

    def _found(self, steps: Iterable[Step]) -> dict[tuple[str, str | None], Group]:
        found: dict[tuple[str, str | None], list[Step]] = {}
        never = self.now + timedelta(days=365_000)
        for step in sorted(steps, key=lambda step: (step.wake_at or never, step.started_at or never, step.key)):
            if step.status not in UNTOLD:
                found.setdefault((step.status, step.waits_for), []).append(step)
        return {named: Group(steps[:MOST], len(steps)) for named, steps in found.items()}

    def group(self, status: str, waits_for: str | None = None) -> Group:
        return self.groups.get((status, waits_for), Group())

    @cached_property
    def ready_since(self) -> datetime | None:
        """When the first of the ready steps was free to start; None if none is, or if the run is paused."""
        group = self.group(Step.Status.READY)
        if not group.total or self.run.status == Run.Status.PAUSED:
            return None
        step = group.steps[0]
        needs = Step.objects.filter(run=self.run, dependants__overlap=[step.key, -step.key], ended_at__isnull=False)
        told = self.newest_events.filter(Q(key=step.key) | Q(type__in=OPENED))
        newest = Subquery(needs.order_by("-ended_at").values("ended_at")[:1]), Subquery(told.reverse().values("at")[:1])
        times = Run.objects.filter(pk=self.run.pk).values_list("created_at", *newest).get()
        return max(at for at in times if at)

    @cached_property
    def workers(self) -> dict[int, Worker]:
        """Those that the running steps belong to."""
        owners = {step.owner for step in self.group(Step.Status.RUNNING).steps}
        return Worker.objects.in_bulk(owners) if owners else {}

    @cached_property
    def some_worker_lives(self) -> bool:
        return Worker.objects.filter(dead_at=None, lease_until__gt=self.now).exists()

    @cached_property
    def below(self) -> dict[int, Run]:
        """The runs that this one and those below it started and that have not ended, by id; the nearest first."""
        found: dict[int, Run] = {}
        level = [self.run.pk] if self.group(Step.Status.WAITING, "child").total else []
        while level and len(found) < MOST_RUNS:
            rows = Run.objects.filter(parent_run_id__in=level, parent_run_id__gt=0, ended_at=None)
            rows = rows.for_list().without_values().order_by("pk")
            level = [run.pk for run in rows[: MOST_RUNS - len(found)] if found.setdefault(run.pk, run)]
        return found

    def step_towards(self, run: Run) -> Step | None:
        """The step of this run that `run`, one of those below, comes from."""
        while run.parent_run_id != self.run.pk:
            run = self.below[run.parent_run_id or 0]
        return self._starters.get(run.parent_key)

    @cached_property
    def _starters(self) -> dict[int | None, Step]:
        keys = [run.parent_key for run in self.below.values() if run.parent_run_id == self.run.pk]
        return {step.key: step for step in Step.objects.filter(run=self.run, key__in=keys).defer(*LARGE)}

    @cached_property
    def questions(self) -> list[Request]:
        """To people, of this run and of those below it: not answered, or nobody has taken the answer up; by due."""
        asks = self.below or self.group(Step.Status.WAITING, "approval").total or self.run.status == Run.Status.PAUSED
        if not asks:
            return []
        return list(self._asked.for_inbox().without_payloads().by_due()[:MOST])

    @cached_property
    def question_count(self) -> int:
        return len(self.questions) if len(self.questions) < MOST else self._asked.count()

    def questions_below(self, step: Step) -> list[Request]:
        """Those that come from runs below this step."""
        runs = {run.public_id: run for run in self.below.values()}
        found = [(asked, self.step_towards(runs[asked.run])) for asked in self.questions if asked.run in runs]
        return [asked for asked, starter in found if starter == step]

    @property
    def _asked(self) -> Any:
        runs = [self.run.public_id, *(run.public_id for run in self.below.values())]
        rows = Request.objects.filter(organization_id=self.run.organization_id).of_run(*runs)
        return rows.filter(Q(status=Status.PENDING) | Q(status__in=ANSWERED, acknowledged_at=None))

    @property
    def newest_events(self) -> QuerySet[Event]:
        """By their numbers, which have an index: a run may have a million."""
        return Event.objects.after(self.run, self.run.seq - MOST_MOVES)

    def told(self, kind: str) -> Event | None:
        """The newest event of that type."""
        return self.newest_events.filter(type=kind).last()

    # --- words

    def since(self, at: datetime | None) -> Part:
        at = at or self.now
        return Part(counted((self.now - at).total_seconds()), "since", at.isoformat())

    def until(self, at: datetime | None) -> Part:
        at = at or self.now
        return Part(counted((at - self.now).total_seconds()), "until", at.isoformat())


def label(step: Step) -> str:
    return step.name if step.index is None else f"{step.name} {step.index}"


def name(step: Step) -> Part:
    return Part(label(step), "name")


def quote(words: str) -> Part:
    words = words.strip().rstrip(".")
    return Part(words if len(words) <= LONGEST_QUOTE else words[:LONGEST_QUOTE] + "…", "quote")


def by(person: Any) -> Words:
    return phrase(" by {}", Part(person.name, "name")) if person else ()


def more(group: Group) -> Words:
    """Those behind the first, named while they are few."""
    others = group.steps[1:]
    if group.total > 3:
        return phrase(" (and {} more)", str(group.total - 1))
    if not others:
        return ()
    first, *rest = (name(step) for step in others)
    return phrase(" (and {}{})", first, phrase(" and {}", rest[0]) if rest else ())


def run_link(run: Run, words: str = "") -> Part:
    return Part(words or run.definition_version.definition.slug, "link", run.get_absolute_url())
