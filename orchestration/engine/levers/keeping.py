"""Puts runs that ended away, brings them back, and deletes them for good: each with all that it started."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts import audit
from accounts.clock import ClockTimestamp
from accounts.json_values import canonical
from accounts.models import Member
from approvals.models import Request
from orchestration.engine.connection import rows
from orchestration.engine.levers.acting import note_of
from orchestration.exceptions import Refused
from orchestration.models import Run, Step

# What a deletion takes, by what people call it: its table, and the column that names the run.
TAKEN = {
    "steps": "orchestration_step",
    "events": "orchestration_event",
    "deliverables": "orchestration_deliverable",
    "log lines": "orchestration_logline",
    "stream values": "orchestration_streamvalue",
}
HEADS = ("loghead", "streamhead", "budget", "outsideevent")


def archive(run: Run, *, by: Member | None, reason: str) -> None:
    """It is in no list unless archived ones are asked for. Raises Refused."""
    with transaction.atomic():
        Run.objects.filter(pk__in=_locked(run, "archived", unarchivable)).update(archived_at=ClockTimestamp())
        _record(run, by, "run.archive", note_of(by, reason))


def restore(run: Run, *, by: Member | None, reason: str) -> None:
    """Raises Refused."""
    with transaction.atomic():
        Run.objects.filter(pk__in=_locked(run, "restored", unrestorable)).update(archived_at=None)
        _record(run, by, "run.restore", note_of(by, reason))


@dataclass(frozen=True)
class Deletion:
    """`takes` is gone for good; `keeps` stays, as evidence. Who says yes names the digest of just this."""

    runs: list[str]
    takes: dict[str, int]
    keeps: dict[str, int]

    @property
    def digest(self) -> str:
        return hashlib.sha256(canonical([self.runs, self.takes, self.keeps])).hexdigest()


def deletion_of(run: Run) -> Deletion:
    """What deleting it takes with it."""
    return _deletion(below(run))


def delete(run: Run, *, by: Member | None, reason: str, digest: str) -> None:
    """For good, with all that it started; `digest` is that of the `Deletion` that was seen. Raises Refused."""
    with transaction.atomic():
        found = _locked(run, "deleted", undeletable)
        if Run.objects.filter(pk__in=found, pinned_at__isnull=False).exists():
            raise Refused("The run, or one that it started, is pinned; unpin it first.")
        deletion = _deletion(found)
        if deletion.digest != digest:
            raise Refused("What would be deleted is not what was shown; look at it again.")
        for table in (*TAKEN.values(), *(f"orchestration_{head}" for head in HEADS)):
            rows(f"delete from {table} where run_id = any(%s)", [found])  # noqa: S608
        rows("delete from orchestration_tree where root_run_id = any(%s)", [found])
        rows("delete from orchestration_startkey where run_id = any(%s) or runs && %s::bigint[]", [found, found])
        rows("delete from orchestration_run where id = any(%s)", [found])
        data = {**note_of(by, reason), "runs": deletion.runs, "takes": deletion.takes}
        _record(run, by, "run.delete", data)


def unarchivable(run: Run) -> str | None:
    return "The run is archived already." if run.archived_at else None


def unrestorable(run: Run) -> str | None:
    return None if run.archived_at else "The run is not archived."


def undeletable(run: Run) -> str | None:
    """Why it cannot go by itself."""
    if run.pinned_at is not None:
        return "The run is pinned; unpin it first."
    parent = Run.objects.filter(pk=run.parent_run_id or 0).first()
    return f"The run was started by {parent.public_id}, and goes with it." if parent else None


def below(run: Run) -> list[int]:
    """The run and all that it started, at any depth, in order."""
    tree = Q(root_run_id=run.root_run_id or run.pk)
    own = Step.objects.filter(run_id=run.pk, child_run_id__isnull=False).values("child_run_id")
    found = {run.pk}
    for pk, parent in Run.objects.filter(tree | Q(pk__in=own)).order_by("pk").values_list("pk", "parent_run_id"):
        if parent in found:  # a child's id is above its parent's
            found.add(pk)
    return sorted(found)


def _locked(run: Run, what: str, unless: Callable[[Run], str | None]) -> list[int]:
    """Those of `below`, of which none has an end to come. Raises Refused."""
    found = below(run)
    rows("select from orchestration_run where id = any(%s) order by id for no key update", [found])
    run.refresh_from_db(fields=["status", "pinned_at", "archived_at"])
    goes_on = Run.objects.filter(pk__in=found, ended_at=None).order_by("pk").first()
    if goes_on is not None:
        which = "The run" if goes_on.pk == run.pk else f"Run {goes_on.public_id}, which it started,"
        raise Refused(f"{which} is {goes_on.status}; only what has ended can be {what}.")
    if why := unless(run):
        raise Refused(why)
    return found


def _deletion(found: list[int]) -> Deletion:
    runs = list(Run.objects.filter(pk__in=found).order_by("pk").values_list("public_id", flat=True))
    each = ", ".join(f"(select count(*) from {table} where run_id = any(%(runs)s))" for table in TAKEN.values())  # noqa: S608
    (counts,) = rows(f"select {each}", {"runs": found})
    asked = Request.objects.of_run(*runs).count()
    takes = {"runs": len(runs), **dict(zip(TAKEN, counts, strict=True))}
    return Deletion(runs, takes, {"questions with their answers": asked})


def _record(run: Run, by: Member | None, action: str, data: dict[str, Any]) -> None:
    audit.record(organization=run.organization, actor=by, action=action, target=run.public_id, data=data)
