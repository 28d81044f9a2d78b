"""What the first page tells: each figure is one query and leads to the list of what it counts."""

import datetime
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Exists, Min, OuterRef, QuerySet
from django.db.models.functions import TruncHour
from django.utils import timezone

from accounts.models import Member, Organization, Role
from approvals.models import Request
from orchestration.models import Definition, Run, Step, Worker

HOURS, HOURS_A_BAR = 24, 2  # on a phone, narrower bars could not be hit with a thumb
GROUPS = {  # from the bottom of a bar to its top
    "completed": [Run.Status.COMPLETED],
    "running": [Run.Status.RUNNING, Run.Status.CANCELING, Run.Status.PLANNING],
    "waiting": [Run.Status.WAITING, Run.Status.PAUSED],
    "canceled": [Run.Status.CANCELED],
    "failed": [Run.Status.FAILED, Run.Status.REJECTED],
}
GROUP_OF = {status: group for group, statuses in GROUPS.items() for status in statuses}
STEP_KEYS = ("fact", "title", "text", "url_name", "action", "role")
FIRST_STEPS = (
    ("started", "Start a run", "Operators start one from a form.", "pages:run-new", "Start a run", Role.OPERATOR),
    (
        "decided",
        "Decide at its checkpoint",
        "It stops and holds nothing until a person who may decide has answered.",
        "pages:approvals",
        "Open the inbox",
        Role.APPROVER,
    ),
    (
        "read",
        "Read the report",
        "What a run makes for people lies under Deliverables.",
        "pages:deliverables",
        "Open the deliverables",
        None,
    ),
    (
        "saved",
        "Make it yours",
        "Change a definition, or write one; every version stays.",
        "pages:definitions",
        "Open the definitions",
        Role.BUILDER,
    ),
)


@dataclass(frozen=True)
class Figures:
    """`asked` are the keys of the questions that wait for the member, the newest first; `oldest_at` is when the first
    of them was asked; `workers`, how many live."""

    asked: list[int]
    oldest_at: datetime.datetime | None
    next_due_at: datetime.datetime | None
    failed: int
    moving: int
    waiting: int
    uncertain: int
    workers: int

    @property
    def needs_you(self) -> int:
        return len(self.asked)


def figures(member: Member, now: datetime.datetime) -> Figures:
    asked = Request.objects.decidable_by(member).aggregate(
        keys=ArrayAgg("pk"), oldest=Min("created_at"), due=Min("deadline_at")
    )
    runs = Run.objects.visible_to(member)
    since = now - datetime.timedelta(hours=HOURS)
    is_open: dict[str, int] = dict(
        runs.filter(ended_at=None).order_by().values_list("status").annotate(count=Count("pk"))
    )
    return Figures(
        asked=sorted(asked["keys"] or [], reverse=True),
        oldest_at=asked["oldest"],
        next_due_at=asked["due"],
        failed=runs.filter(status__in=GROUPS["failed"], created_at__gte=since).count(),
        moving=sum(is_open.get(status, 0) for status in GROUPS["running"]),
        waiting=sum(is_open.get(status, 0) for status in GROUPS["waiting"]),
        uncertain=uncertain_of(runs).count(),
        workers=Worker.objects.filter(dead_at=None, lease_until__gt=now).count(),
    )


def uncertain_of(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Those with a step of which nobody knows what it did."""
    return runs.filter(pk__in=Step.objects.filter(status=Step.Status.UNCERTAIN).values("run_id"))


def bars(member: Member, now: datetime.datetime) -> list[dict[str, Any]]:
    """Of the last 24 hours, oldest first: {at, total, parts: [{group, count, y, height}]}; of 100 high."""
    whole = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)  # in zones of half hours too
    first = whole.astimezone(datetime.UTC) - datetime.timedelta(hours=HOURS - 1)
    counted = (
        Run.objects.visible_to(member)
        .filter(created_at__gte=first)
        .order_by()
        .annotate(hour=TruncHour("created_at"))
        .values_list("hour", "status")
        .annotate(count=Count("pk"))
    )
    step = datetime.timedelta(hours=HOURS_A_BAR)
    begins = [first + n * step for n in range(HOURS // HOURS_A_BAR)]
    found = {at: dict.fromkeys(GROUPS, 0) for at in begins}
    for hour, status, count in counted:
        place = min((hour - first) // step, len(begins) - 1)  # the database's clock may be in the next hour already
        found[begins[place]][GROUP_OF[status]] += count
    highest = max(sum(groups.values()) for groups in found.values())
    return [bar_of(at, groups, highest) for at, groups in found.items()]


def bar_of(at: datetime.datetime, groups: dict[str, int], highest: int) -> dict[str, Any]:
    parts, top = [], 100.0
    for group, count in groups.items():
        height = 100 * count / highest if count else 0.0
        top -= height
        if count:
            parts.append({"group": group, "count": count, "y": round(top, 2), "height": round(height, 2)})
    return {
        "at": at,
        "until": at + datetime.timedelta(hours=HOURS_A_BAR),
        "total": sum(groups.values()),
        "parts": parts,
    }


def first_steps(member: Member) -> list[dict[str, Any]]:
    """The guided first run: [{title, text, is_done, url_name, action, role, is_yours}]; `role` None: anyone's.

    What takes a role is done when anyone of the organization did it; reading is everyone's own.
    """
    own = OuterRef("pk")
    done = (
        Organization.objects.filter(pk=member.organization_id)
        .annotate(
            started=Exists(Run.objects.filter(organization=own)),
            decided=Exists(Request.objects.filter(organization=own, decided_by__isnull=False)),
            saved=Exists(Definition.objects.filter(organization=own, current_version__created_by__isnull=False)),
        )
        .values("started", "decided", "saved")
        .get()
    )
    done["read"] = member.first_read_at is not None
    steps: list[dict[str, Any]] = [dict(zip(STEP_KEYS, step, strict=True)) for step in FIRST_STEPS]
    for step in steps:
        step["is_done"] = done[step["fact"]]
        step["is_yours"] = step["role"] is None or member.has_role(step["role"])
    return steps
