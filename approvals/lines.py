"""Questions as the rows of a list, whose state is told in place."""

from dataclasses import dataclass

from accounts.clock import ClockTimestamp
from accounts.models import Member
from approvals.models import Request, RequestQuerySet
from approvals.surroundings import simulated_among


@dataclass(frozen=True)
class Line:
    """`ended_as` is "" while it can be answered; `is_simulated` tells of what it is about."""

    row: Request
    ended_as: str
    is_simulated: bool


def lines_of(rows: RequestQuerySet) -> list[Line]:
    """As few queries for many as for one."""
    found = list(rows.for_inbox().without_payloads().annotate(now=ClockTimestamp()))
    simulated = simulated_among(found)
    return [Line(row, row.ended_as(row.now), row.pk in simulated) for row in found]  # type: ignore[attr-defined]


def lines_named(ids: str, member: Member, *, most: int) -> list[Line]:
    """Those that a page shows, by their public ids with commas between; whatever became of them."""
    wanted = [public_id for public_id in ids.split(",")[:most] if public_id]
    return lines_of(Request.objects.visible_to(member).filter(public_id__in=wanted)) if wanted else []


def ids_of(lines: list[Line]) -> str:
    return ",".join(line.row.public_id for line in lines)
