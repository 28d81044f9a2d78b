"""Who holds a limit, and who stands in its line."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from accounts.models import Member
from orchestration.models import Limit, LimitPlace, LimitSlot, Run, Step

SHOWN = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """`step` is empty where the whole run stands for itself; `until` is when a rate has room for it."""

    run: Run
    step: str
    since: datetime
    until: datetime | None = None


def limits_of(member: Member) -> QuerySet[Limit]:
    """With `waiting`: how many stand in line; those that somebody asked for last at the front."""
    line = LimitPlace.objects.filter(limit_id=OuterRef("pk")).order_by().values("limit_id").annotate(n=Count("pk"))
    found = Limit.objects.filter(organization_id=member.organization_id).exclude(kind=Limit.Kind.BUDGET)
    return found.annotate(waiting=Coalesce(Subquery(line.values("n")), 0)).select_related(
        "organization", "changed_by__user", "changed_by__organization"
    )


def holders(limit: Limit) -> list[Standing]:
    """Those that have held it longest at the front."""
    return _named(LimitSlot.objects.filter(limit_id=limit.pk, stirred_at=None).order_by("since")[:SHOWN])


def line(limit: Limit) -> list[Standing]:
    """Who is next at the front."""
    return _named(LimitPlace.objects.filter(limit_id=limit.pk).order_by("-priority", "pk")[:SHOWN])


def _named(rows: Iterable[LimitSlot | LimitPlace]) -> list[Standing]:
    found = list(rows)
    runs = Run.objects.without_values().in_bulk({row.run_id for row in found})
    named = Step.objects.filter(run_id__in=runs, key__in={row.key for row in found})
    steps = {(step.run_id, step.key): step for step in named.only("run_id", "key", "name", "index")}
    return [
        Standing(runs[row.run_id], _label(steps.get((row.run_id, row.key))), row.since, getattr(row, "woken_at", None))
        for row in found
        if row.run_id in runs
    ]


def _label(step: Step | None) -> str:
    if step is None:
        return ""
    return step.name if step.index is None else f"{step.name} {step.index}"
