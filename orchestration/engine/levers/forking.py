"""Begins a run from a step of another, perhaps with other input: what was done before that step is not done again."""

import json
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import Member
from accounts.public_ids import new_public_id
from orchestration.engine.connection import value
from orchestration.engine.hints import hint_after_commit
from orchestration.engine.levers.acting import note_of
from orchestration.engine.levers.keeping import below
from orchestration.engine.plans import plan_of
from orchestration.engine.starts import admitted, agents_there, facts_of
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import DefinitionVersion, Run, Step

FORK = "select engine_fork_v1(%s, %s, %s, %s, %s, %s::jsonb, %s, %s::jsonb, %s::jsonb)"


@lru_cache(maxsize=512)
def needs_of(version: int) -> Mapping[int, Set[int]]:
    """By position, what each place of a version needs."""
    layout = DefinitionVersion.objects.values_list("layout", flat=True).get(pk=version)
    found: dict[int, set[int]] = {row["key"]: set() for row in layout}
    for row in layout:
        for dependant in row["dependants"]:
            found[abs(dependant)].add(row["key"])
    return found


class Fork:
    """What a run that begins at `cut` would take over, and what it would do. Steps that are not given are read."""

    def __init__(self, run: Run, cut: Step, steps: Collection[Step] | None = None) -> None:
        self.run = run
        self.cut = cut
        self.steps = list(run.steps.filter(head=None)) if steps is None else steps

    @cached_property
    def rows(self) -> dict[int, Step]:
        """The newest of each place."""
        found = [step for step in self.steps if step.head is None and step.undoes is None and step.kind != "start"]
        return {step.position: step for step in sorted(found, key=lambda step: (step.position, step.key))}

    @cached_property
    def undone(self) -> set[int | None]:
        return {step.undoes for step in self.steps if step.undoes is not None}

    @cached_property
    def needs(self) -> Mapping[int, Set[int]]:
        """Of each place."""
        return needs_of(self.run.definition_version_id)

    def stays(self, position: int) -> bool:
        """What a place has may be taken over: it ended well, or so that the run bears it."""
        step = self.rows[position]
        fine = step.status in (Step.Status.COMPLETED, Step.Status.SKIPPED)
        return (fine or (step.status == Step.Status.FAILED and step.forgiven)) and (
            step.kind != "output" and step.key not in self.undone
        )

    @cached_property
    def before(self) -> set[int]:
        """All that the cut needs, and what that needs."""
        found: set[int] = set()
        left = set(self.needs[self.cut.position])
        while left:
            found |= left
            left = set().union(*(self.needs[position] for position in left)) - found
        return found

    @cached_property
    def again(self) -> set[int]:
        """The places that are done again: the cut, what did not end well beside it, and all that needs one of these."""
        found = {self.cut.position} | {position for position in self.rows if not self.stays(position)}
        while more := {position for position, needs in self.needs.items() if needs & found} - found:
            found |= more
        return found

    @cached_property
    def kept(self) -> list[Step]:
        return [step for position, step in sorted(self.rows.items()) if position not in self.again]

    @cached_property
    def asking(self) -> list[Step]:
        """Those done again whose effects the run has begun, and that may not simply be repeated."""
        began = self.run.steps.filter(position__in=self.again, undoes=None, started_at__isnull=False)
        risky = {step.position for step in began.only("position", "repeatable", "undo") if self.is_risky(step)}
        children = began.filter(child_run_id__isnull=False).values_list("position", "child_run_id")
        for position, child in children:
            if position not in risky and self.has_effects(child):
                risky.add(position)
        return [self.rows[position] for position in sorted(risky)]

    @staticmethod
    def is_risky(step: Step) -> bool:
        return not step.repeatable or step.undo is not None

    @staticmethod
    def has_effects(child: int | None) -> bool:
        run = Run.objects.only("pk", "root_run_id").filter(pk=child or 0).first()
        tree = below(run) if run else []
        return Step.objects.filter(run_id__in=tree, repeatable=False, started_at__isnull=False).exists()

    def refusal(self) -> str | None:
        if self.cut.head is not None or self.cut.undoes is not None:
            return f"Step {self.cut.name} is one of several; fork from the step that began them."
        bad = next((self.rows[position] for position in sorted(self.before) if not self.stays(position)), None)
        if bad is None:
            return None
        is_undone = " and taken back" if bad.key in self.undone else ""
        return f"Step {bad.name}, which {self.cut.name} builds on, is {bad.status}{is_undone}; fork from that."


def fork(run: Run, step: Step, *, by: Member | None, reason: str, **changed: Any) -> Run:
    """The new run. `input`, if given, is what it is given instead; it waits at limits of starts as any run does. Raises
    Refused, InvalidInput, AgentGone, LimitFull."""
    definition = run.definition_version.definition
    if definition.archived_at is not None:
        raise Refused(f"{definition} is archived; restore it to start runs of it.")
    given = changed.get("input", run.input)
    if errors := plan_of(run.definition_version_id).input_errors(given):
        raise InvalidInput(errors)
    found = Fork(run, step)
    if why := found.refusal():
        raise Refused(why)
    public = new_public_id("run")
    member = by.pk if by else None
    facts = facts_of(run.definition_version_id, run.organization_id, given, by=member)
    note = {**note_of(by, reason), "step": step.name}
    with transaction.atomic(), agents_there():
        kept, asking = [row.key for row in found.kept], [row.position for row in found.asking]
        texts = [json.dumps(part) for part in (given, facts, note)]
        new = value(FORK, [run.pk, step.key, kept, asking, public, texts[0], member, *texts[1:]])
        if new is None:
            raise Refused("The run has moved on; look at it again.")
        data = {**note, "to": public}
        audit.record(organization=run.organization, actor=by, action="run.fork", target=run.public_id, data=data)
        if "waits" in facts:
            admitted(run.organization_id, facts["waits"]["admits"]["limits"], [new])
        hint_after_commit(dict.fromkeys(settings.WORKER_QUEUES, 1), [run.pk, new])
    return Run.objects.for_list().get(pk=new)


@dataclass(frozen=True)
class Preview:
    """By the names of steps."""

    inherits: list[str]
    does: list[str]
    asks: list[str]
    refusal: str | None

    def lines(self) -> list[str]:
        words = {"It takes over": self.inherits, "It does": self.does, "A person is asked before": self.asks}
        return [f"{what}: {', '.join(names)}." for what, names in words.items() if names]


def preview(run: Run, step: Step) -> Preview:
    """What a fork from this step would take over, do, and ask about first."""
    found = Fork(run, step)
    does = [found.rows[position].name for position in sorted(found.again)]
    names = [[row.name for row in rows] for rows in (found.kept, found.asking)]
    return Preview(names[0], [name for name in does if name], names[1], found.refusal())
