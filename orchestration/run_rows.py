"""The rows of one run that its pages show, each kind read once and only when asked for, without large values."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from django.db.models import F, TextField
from django.db.models.functions import Cast, Left, Length
from django.utils import timezone
from django.utils.functional import cached_property

from agents.models import AgentVersion
from approvals.models import Request
from orchestration.models import DefinitionVersion, Deliverable, Event, Payload, Run, Step
from orchestration.reasons.facts import Facts
from orchestration.timeline import Span, spans_of

MOST_MOVES = 5_000  # events that the timeline is drawn of, the newest
LARGE_BYTES = 100_000  # of a value: from here on it is shown in part, and downloaded
HUGE_BYTES = 1_000_000  # from here on it is not even read, but for its beginning
SHOWN_OF_HUGE = 4_000
VALUES = ("input", "output", "feedback", "undo")
UNREAD = (*VALUES, "dependants", "reads")


class StepOutline(NamedTuple):
    name: str
    needs: list[str]
    attempts: int  # tries that `retry` allows
    undo_attempts: int  # and that of what undoes it
    converses: bool  # in a conversation of the definition's own
    at_once: int | None  # items of a map that the definition lets be at work at once


class Outline(NamedTuple):
    """What pages read of a version's plan. The engine's own reading of it compiles each expression."""

    digest: str
    steps: dict[int, StepOutline]  # by position
    messages: dict[str, Any]  # the schema of each


@lru_cache(maxsize=512)
def outline_of(version: int) -> Outline:
    digest, plan = DefinitionVersion.objects.values_list("digest", "plan").get(pk=version)
    return Outline(
        digest,
        {
            step["key"]: StepOutline(
                step["name"],
                step["needs"],
                int((step["retry"] or {}).get("attempts", 1)),
                int(step.get("compensate", {}).get("retry", {}).get("attempts", 1)),
                step["conversation"] is not None,
                step.get("map", {}).get("concurrency"),
            )
            for step in plan["steps"]
        },
        {name: message["schema"] for name, message in plan.get("messages", {}).items()},
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """How long a run waited for people to answer, whether one question or several were open at a time."""

    seconds: float
    is_over: bool
    now: datetime

    @property
    def as_if_since(self) -> datetime:
        """While it goes on: when it had begun, had it been all at once."""
        return self.now - timedelta(seconds=self.seconds)


class RunRows:
    """`now` is read once, so that all that is said of the run agrees. `given`: its input, if that is small."""

    def __init__(self, run: Run, given: str = "") -> None:
        self.run = run
        self.given = given
        self.now = timezone.now()

    @cached_property
    def facts(self) -> Facts:
        return Facts(self.run, now=self.now, steps=self.steps)

    @cached_property
    def outline(self) -> Outline:
        return outline_of(self.run.definition_version_id)

    # --- steps

    @cached_property
    def all_steps(self) -> list[Step]:
        """Of every round, in the definition's order, items behind their step; the run's own output is none of them."""
        rows = self.run.steps.shown().defer(*UNREAD)
        return list(rows.order_by("position", F("index").asc(nulls_first=True), "key"))

    @cached_property
    def steps(self) -> list[Step]:
        """Each in its newest round; behind them what takes back, in its order."""
        newest: dict[int, int] = {}
        for step in self.all_steps:
            newest[step.position] = max(step.round, newest.get(step.position, 0))
        nodes = [step for step in self.all_steps if step.undoes is None and step.round == newest[step.position]]
        return nodes + sorted((step for step in self.all_steps if step.undoes), key=lambda step: step.key)

    @property
    def told_status(self) -> str:
        """The run's; but that a step's result is unknown is told before that the run waits."""
        is_unknown = any(step.status == Step.Status.UNCERTAIN for step in self.steps)
        still = self.run.status in (Run.Status.WAITING, Run.Status.CANCELING)
        return "uncertain" if is_unknown and still else self.run.status

    def rounds_of(self, step: Step) -> list[Step]:
        """The same place in every round, newest first."""
        place = (step.name, step.index)
        same = [other for other in self.all_steps if (other.name, other.index) == place]
        return sorted(same, key=lambda other: -other.round)

    def named(self, name: str, round: int | None = None, index: int | None = None) -> Step | None:
        """In its newest round, or that one; `index`: of an item or a pass."""
        rows = self.steps if round is None else [step for step in self.all_steps if step.round == round]
        found = [step for step in rows if step.name == name]
        return next((step for step in found if step.index == index), found[0] if found and index is None else None)

    def attempts_of(self, step: Step) -> int:
        """How many tries `retry` allows; 1 for what is not tried again."""
        outline = self.outline.steps[step.position]
        return outline.attempts if step.undoes is None else outline.undo_attempts

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        """By name, in the definition's order."""
        return {step.name: step.needs for _, step in sorted(self.outline.steps.items())}

    @cached_property
    def asking(self) -> Asking | None:
        """None for a run that has asked nothing. Of its own checkpoints, in every round."""
        asked = [step for step in self.all_steps if step.kind == "approval" and step.started_at]
        if not asked:
            return None
        over = self.run.ended_at or self.now
        total, reach = timedelta(), self.run.created_at
        for start, end in sorted((step.started_at or over, step.ended_at or over) for step in asked):
            total += max(end - max(start, reach), timedelta())
            reach = max(reach, end)
        is_over = self.run.has_ended or all(step.ended_at for step in asked)
        return Asking(total.total_seconds(), is_over, self.now)

    # --- what happened

    @cached_property
    def moves(self) -> list[tuple[int | None, str, datetime]]:
        """(key, type, at) of the events that moved a step, and of the rounds opened, in order."""
        newest = Event.objects.filter(run=self.run).order_by("-seq").values_list("key", "type", "at")
        return list(reversed(newest[:MOST_MOVES]))

    @cached_property
    def spans(self) -> dict[int, list[Span]]:
        return spans_of([(key, kind, at) for key, kind, at in self.moves if key is not None], self.ready_at)

    @cached_property
    def ready_at(self) -> dict[int, datetime]:
        """When each step that started, or could, was free to: the end of the last that it needs, by its row's key."""
        first: dict[int, datetime] = {}
        opened = []
        for key, kind, at in self.moves:
            if kind == "step.started" and key is not None:
                first.setdefault(key, at)
            elif kind == "run.round_opened":
                opened.append(at)
        ends: dict[str, list[datetime]] = {}
        for step in self.all_steps:
            if step.ended_at is not None:
                ends.setdefault(step.name, []).append(step.ended_at)
        found = {}
        for step in self.all_steps:
            before = first.get(step.key) or (self.now if step.status == Step.Status.READY else None)
            if before is None:
                continue
            if step.undoes is None:
                times = [at for need in self.needs[step.name] for at in ends.get(need, ())]
            else:
                times = [at for several in ends.values() for at in several]
            times += opened if step.round > 1 else []
            found[step.key] = max([at for at in times if at <= before], default=min(self.run.created_at, before))
        return found

    def events_of(self, keys: Iterable[int]) -> list[Event]:
        """Of these rows, in order, with what they say: those among the run's newest."""
        return list(self.facts.newest_events.filter(key__in=list(keys)))

    # --- who and what belongs to it

    @cached_property
    def questions(self) -> list[Request]:
        """All that it ever asked, the newest first."""
        asked = Request.objects.filter(organization_id=self.run.organization_id).of_run(self.run.public_id)
        return list(asked.for_inbox().without_payloads().order_by("-pk"))

    def question_of(self, step: Step) -> Request | None:
        return next((asked for asked in self.questions if asked.context.get("key") == step.key), None)

    @cached_property
    def relatives(self) -> dict[int, Run]:
        """The parent, and the runs that steps started, by id."""
        wanted = {step.child_run_id for step in self.all_steps} | {self.run.parent_run_id}
        wanted.discard(None)
        if not wanted:
            return {}
        rows = Run.objects.filter(organization_id=self.run.organization_id).for_list().without_values()
        return {run.pk: run for run in rows.filter(pk__in=wanted)}

    @cached_property
    def origin(self) -> Run | None:
        """The run that it was forked from, if it is there yet."""
        if self.run.forked_run_id is None:
            return None
        return Run.objects.filter(pk=self.run.forked_run_id).only("public_id").first()

    @cached_property
    def agent_versions(self) -> dict[int, AgentVersion]:
        wanted = {step.agent_version_id for step in self.all_steps} - {None}
        rows = AgentVersion.objects.filter(pk__in=wanted).select_related("agent")
        return {row.pk: row for row in rows.only("number", "agent__slug", "agent__kind", "agent__title")}

    @cached_property
    def made(self) -> list[Deliverable]:
        """The newest version of each deliverable, without its content."""
        rows = Deliverable.objects.filter(run=self.run).defer("content").order_by("name", "-version")
        return list(rows.distinct("name"))

    @cached_property
    def cost(self) -> dict[str, Any]:
        """{usd: None if no step's is known, simulated: whether any was, paid: whether any was not}, of every round."""
        used = [step.usage for step in self.all_steps if step.usage]
        known = [float(usage["cost_usd"]) for usage in used if usage.get("cost_usd") is not None]
        simulated = [bool(usage.get("simulated")) for usage in used]
        return {"usd": sum(known) if known else None, "simulated": any(simulated), "paid": not all(simulated)}


# --- values, which may be large


def values_of_run(run: Run) -> dict[str, dict[str, Any]]:
    """{input, output}, each as `_value` gives it."""
    found = Run.objects.filter(pk=run.pk)
    size, digest = found.annotate(size=Length(Cast("input", TextField()))).values_list("size", "output_digest").get()
    given, made = found.values_list(_shown("input", size or 0), "output").get()
    return {"input": _value(given, size or 0), "output": _of_step(made, digest, payloads([digest]))}


def values_of_step(step: Step) -> dict[str, Any]:
    """{input, output, undo}, each as `_value` gives it, of undo its input; and its feedback as it is."""
    digests = ("input_digest", "output_digest", "undo_digest")
    found = Step.objects.filter(run_id=step.run_id, key=step.key).values(*VALUES, *digests).get()
    kept = payloads(found[name] for name in digests)
    undo = found["undo"] or {}
    return {
        "input": _of_step(found["input"], found["input_digest"], kept),
        "output": _of_step(found["output"], found["output_digest"], kept),
        "feedback": found["feedback"],
        "undo": undo | {"input": _of_step(undo.get("input"), found["undo_digest"], kept)},
    }


def payloads(digests: Iterable[Any]) -> dict[bytes, tuple[Any, int]]:
    """By digest: the value, or the beginning of its text if it is huge, and its size."""
    wanted = {bytes(digest) for digest in digests if digest is not None}
    found: dict[bytes, tuple[Any, int]] = {}
    sizes = Payload.objects.filter(digest__in=wanted).values_list("digest", "size") if wanted else []
    for digest, size in list(sizes):
        body = Payload.objects.filter(digest=digest).values_list(_shown("body", size), flat=True).get()
        found[bytes(digest)] = (body, size)
    return found


def _shown(column: str, size: int) -> Any:
    return F(column) if size <= HUGE_BYTES else Left(Cast(column, TextField()), SHOWN_OF_HUGE)


def _of_step(inline: Any, digest: Any, kept: dict[bytes, tuple[Any, int]]) -> dict[str, Any]:
    return _value(inline, 0) if digest is None else _value(*kept.get(bytes(digest), (None, 0)))


def _value(value: Any, size: int) -> dict[str, Any]:
    """{value, beginning, size, is_large}: of a huge one only the beginning of its text."""
    is_huge = size > HUGE_BYTES
    return {
        "value": None if is_huge else value,
        "beginning": value if is_huge else "",
        "is_given": value is not None,
        "size": size,
        "is_large": size > LARGE_BYTES,
    }
