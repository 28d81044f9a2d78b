"""Deletes a definition for good, with its versions and schedules: never one that anything still goes by."""

import hashlib
from dataclasses import dataclass

from django.db import OperationalError, transaction
from django.db.models import F, Q, QuerySet

from accounts import audit
from accounts.json_values import canonical
from accounts.models import Member
from agents.models import Agent
from orchestration.engine.connection import rows
from orchestration.engine.levers.acting import note_of
from orchestration.exceptions import Refused
from orchestration.models import Definition, DefinitionVersion, Run, Schedule, ScheduleFire

SHOWN = 5  # names in a line
MOST_COUNTED = 10_000
BUSY = "55P03"  # the SQL state of a lock that was not there in time
# A run's row names its version without a foreign key, which every start would pay for. So that no start is in the midst
# of laying one while it is looked whether there are any, those wait that write runs, for as long as the deletion takes:
# it reads an index and deletes a few rows. It gives up, rather than hold them up, where that lock is not to be had.
WAIT, HOLD = "set local lock_timeout = '2s'", "lock table orchestration_run in share mode"


@dataclass(frozen=True)
class Drop:
    """`refusals`: all that stands against it, in words. `takes` is gone for good; `notes` are what else is to be known.
    Who says yes names the digest of just this."""

    refusals: list[str]
    takes: dict[str, int]
    notes: list[str]

    @property
    def digest(self) -> str:
        return hashlib.sha256(canonical([self.refusals, self.takes, self.notes])).hexdigest()


def drop_of(definition: Definition) -> Drop:
    """What deleting it takes with it, and why it cannot be."""
    schedules = Schedule.objects.filter(definition=definition)
    takes = {
        "versions": definition.versions.count(),
        "schedules": schedules.filter(dropped_at=None).count(),
        "times of schedules that had their turn": ScheduleFire.objects.filter(schedule__in=schedules).count(),
    }
    refusals = [] if definition.archived_at else [f"{definition} is not archived; archive it first."]
    refusals += _its_runs(definition)
    here = Definition.objects.filter(organization_id=definition.organization_id).exclude(pk=definition.pk)
    refusals += _running(_that_run_it(here.filter(archived_at=None), definition))
    refusals += _its_waiting_parents(definition)
    if agents := _agents_that_own_it(definition):
        refusals.append(f"{'Agent' if len(agents) == 1 else 'Agents'} {_listed(agents)} may start it.")
    archived = _running(_that_run_it(here.exclude(archived_at=None), definition))
    notes = [f"{line} While archived it does not hold it; restored, it fails." for line in archived]
    return Drop(refusals, takes, notes)


def drop(definition: Definition, *, by: Member | None, reason: str, digest: str) -> None:
    """For good; `digest` is that of the `Drop` that was seen. Raises Refused."""
    try:
        with transaction.atomic():
            rows(WAIT)
            _drop(definition, by, reason, digest)
    except OperationalError as exc:
        if getattr(exc.__cause__, "sqlstate", None) != BUSY:
            raise
        raise Refused("Runs are being worked on too busily to look for any of it; try again in a moment.") from exc


def _drop(definition: Definition, by: Member | None, reason: str, digest: str) -> None:
    row = Definition.objects.select_for_update().filter(pk=definition.pk).first()
    if row is None:
        raise Refused(f"{definition} is not here any more.")
    # Schedules before runs, as who starts by them takes these locks; then no turn of one is in its midst.
    schedules = list(Schedule.objects.select_for_update().filter(definition=row).order_by("pk"))
    found = drop_of(row)
    if found.refusals:
        raise Refused(" ".join(found.refusals))
    if found.digest != digest:
        raise Refused("What would be deleted is not what was shown; look at it again.")
    rows(HOLD)
    if refusals := _its_runs(row):
        raise Refused(" ".join(refusals))
    ScheduleFire.objects.filter(schedule__in=schedules).delete()
    Schedule.objects.filter(pk__in=[schedule.pk for schedule in schedules]).delete()
    rows("delete from orchestration_debounce where definition_id = %s", [row.pk])
    Definition.objects.filter(pk=row.pk).update(current_version=None, rollout_version=None, rollout_percent=None)
    row.versions.all().delete()
    Definition.objects.filter(pk=row.pk).delete()
    data = {**note_of(by, reason), "takes": found.takes}
    audit.record(organization=row.organization, actor=by, action="definition.delete", target=row.slug, data=data)


def _its_runs(definition: Definition) -> list[str]:
    mine = Run.objects.filter(definition_version__in=definition.versions.all()).order_by()
    going_on = mine.filter(ended_at=None)
    first = list(going_on.order_by("pk").values_list("public_id", flat=True)[:SHOWN])
    count = going_on[: MOST_COUNTED + 1].count()
    ended = mine.exclude(ended_at=None)[: MOST_COUNTED + 1].count()
    lines = [f"{_counted(count)} of it {'goes' if count == 1 else 'go'} on: {_listed(first, count)}."] if count else []
    if ended:
        are = "is" if ended == 1 else "are"
        lines.append(
            f"{_counted(ended)} of it that ended {are} kept; it can go when they are deleted, or past their time."
        )
    return lines


def _that_run_it(here: QuerySet[Definition], definition: Definition) -> list[str]:
    """Those whose steps run it in a version that new runs begin with."""
    begun_with = Q(pk=F("definition__current_version")) | Q(pk=F("definition__rollout_version"))
    found = _versions_that_run(definition).filter(begun_with, definition__in=here)
    return sorted(set(found.values_list("definition__slug", flat=True)))


def _its_waiting_parents(definition: Definition) -> list[str]:
    """Open runs of others with a step that runs it, by whatever version they go."""
    going_on = Run.objects.filter(organization_id=definition.organization_id, ended_at=None).order_by()
    versions = _versions_that_run(definition).exclude(definition=definition)
    found = going_on.filter(definition_version__in=versions.filter(pk__in=going_on.values("definition_version")))
    some = list(found.values_list("public_id", flat=True)[: SHOWN + 1])
    named = f"{', '.join(some[:SHOWN])}{' and others' if len(some) > SHOWN else ''}"
    return [f"{'A run goes' if len(some) == 1 else 'Runs go'} on with a step that runs it: {named}."] if some else []


def _versions_that_run(definition: Definition) -> QuerySet[DefinitionVersion]:
    steps = {"steps": [{"run": {"definition": definition.slug}}]}
    here = DefinitionVersion.objects.filter(definition__organization_id=definition.organization_id)
    return here.filter(plan__contains=steps)


def _agents_that_own_it(definition: Definition) -> list[str]:
    agents = Agent.objects.filter(organization_id=definition.organization_id, kind="orchestrator")
    owning = agents.filter(current_version__configuration__contains={"definitions": [definition.slug]})
    return list(owning.order_by("slug").values_list("slug", flat=True))


def _running(names: list[str]) -> list[str]:
    if not names:
        return []
    which = f"Definition {names[0]} has" if len(names) == 1 else f"Definitions {_listed(names)} have"
    return [f"{which} a step that runs it."]


def _listed(names: list[str], count: int = 0) -> str:
    """The first of them; `count`, if there are more than were read."""
    shown, left = names[:SHOWN], max(count, len(names)) - len(names[:SHOWN])
    return f"{', '.join(shown)}{f' and {left:,} more' if left else ''}"


def _counted(count: int) -> str:
    if count > MOST_COUNTED:
        return f"More than {MOST_COUNTED:,} runs"
    return "1 run" if count == 1 else f"{count:,} runs"
