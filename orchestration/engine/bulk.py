"""One lever at many runs: looked at first, then pulled at each by sweeps, once, however often a worker dies of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.http import QueryDict

from accounts import audit
from accounts.json_values import canonical
from accounts.models import AuditEntry, Member
from accounts.public_ids import new_public_id
from orchestration.engine import failpoints
from orchestration.engine.connection import rows, value
from orchestration.engine.hints import hints
from orchestration.exceptions import InvalidInput, OrchestrationError, Refused
from orchestration.lever import Lever
from orchestration.levers import AT_MANY, BY_NAME, at_many
from orchestration.models import Bulk, BulkItem, Run
from orchestration.run_lists import Filters

log = structlog.get_logger(__name__)
AT_ONCE = 50  # of one action in a sweep
LOCK, UNLOCK = (f"select pg_{verb}(hashtext('engine_bulk'))" for verb in ("try_advisory_lock", "advisory_unlock"))
LEVERS = {name: lever for (of, name), lever in BY_NAME.items() if of == "run" and not lever.seen}
LEVERS |= {lever.name: lever for lever in (at_many(BY_NAME["step", name]) for name in AT_MANY)}


@dataclass(frozen=True)
class Chosen:
    """Runs by the query of their list, or by their ids."""

    query: str = ""
    ids: Sequence[str] | None = None

    def as_json(self) -> dict[str, Any]:
        return {"query": self.query} if self.ids is None else {"ids": list(self.ids)}

    def runs(self, member: Member) -> QuerySet[Run]:
        """Raises InvalidInput for what cannot be understood: left out, it would choose more."""
        if self.ids is None:
            filters = Filters.of(QueryDict(self.query))
            if filters.problems:
                raise InvalidInput([{"pointer": "/filter", "message": problem} for problem in filters.problems])
            return filters.runs(member)
        found = Run.objects.visible_to(member).for_list().without_values().filter(public_id__in=self.ids)
        if missing := set(self.ids) - set(found.values_list("public_id", flat=True)):
            raise InvalidInput([{"pointer": "/ids", "message": f"There is no run {one}."} for one in sorted(missing)])
        return found


@dataclass(frozen=True)
class Look:
    """What would be done. `refusals`: in words, by the run's key, of those it cannot be done to."""

    runs: Sequence[Run]
    refusals: Mapping[int, str]
    digest: str

    @property
    def able(self) -> int:
        return len(self.runs) - len(self.refusals)

    @property
    def refused(self) -> list[tuple[Run, str]]:
        return [(run, self.refusals[run.pk]) for run in self.runs if run.pk in self.refusals]


def look(lever: Lever, chosen: Chosen, given: Mapping[str, Any], *, by: Member) -> Look:
    """Raises InvalidInput, and Refused for more runs than may be chosen."""
    most = settings.BULK_MOST_RUNS
    runs = list(chosen.runs(by)[: most + 1])
    if len(runs) > most:
        raise Refused(f"More than {most:,} runs are chosen (BULK_MOST_RUNS); choose fewer at once.")
    refusals = {run.pk: words for run in runs if (words := lever.refusal(run)) is not None}
    refusals |= lever.against([run for run in runs if run.pk not in refusals], given)
    told = [lever.name, dict(given), sorted([run.public_id, run.pk in refusals] for run in runs)]
    return Look(runs, refusals, hashlib.sha256(canonical(told)).hexdigest())


def begin(lever: Lever, chosen: Chosen, given: Mapping[str, Any], *, reason: str, digest: str, by: Member) -> Bulk:
    """Do what was looked at; `digest` is that of the look. Raises InvalidInput, and Refused where it is not so any
    more."""
    lever.check({**given, "reason": reason})
    found = look(lever, chosen, given, by=by)
    if found.digest != digest:
        raise Refused("The runs that are chosen, or what can be done to them, changed meanwhile; look at it again.")
    if not found.able:
        raise Refused("It can be done to none of these runs.")
    with transaction.atomic():
        bulk = Bulk.objects.create(
            public_id=new_public_id("act"),
            organization=by.organization,
            action=lever.name,
            filters=chosen.as_json(),
            given=dict(given),
            reason=reason,
            by=by,
            total=len(found.runs),
            done=len(found.refusals),
        )
        BulkItem.objects.bulk_create(
            BulkItem(
                bulk=bulk,
                run_id=run.pk,
                status=BulkItem.Status.REFUSED if run.pk in found.refusals else BulkItem.Status.OPEN,
                words=found.refusals.get(run.pk, ""),
            )
            for run in found.runs
        )
        data = {"lever": lever.name, "runs": len(found.runs), "reason": reason, **chosen.as_json()}
        audit.record(organization=by.organization, actor=by, action="runs.act", target=bulk.public_id, data=data)
    return bulk


def told(bulk: Bulk, items: QuerySet[BulkItem], member: Member) -> list[tuple[BulkItem, Run | None]]:
    """Each with its run, if that is there yet. Why a run refused may say what is in it: of one that does not show that
    to this member it is told to who did it alone."""
    found = list(items)
    runs = Run.objects.for_list().without_values().in_bulk([item.run_id for item in found])
    for item in found:
        run = runs.get(item.run_id)
        if run and bulk.by_id != member.pk and not run.payload_visible_to(member):
            item.words = ""
    return [(item, runs.get(item.run_id)) for item in found]


def work() -> int:
    """A sweep's worth of each action that is under way; how many runs had their turn. One process at a time."""
    if not value(LOCK):
        return 0
    try:
        return sum(_work(bulk) for bulk in Bulk.objects.filter(ended_at=None).select_related("by").order_by("pk"))
    finally:
        if connection.connection is not None and not connection.connection.closed:
            rows(UNLOCK)


def _work(bulk: Bulk) -> int:
    items = list(bulk.items.filter(status=BulkItem.Status.OPEN).order_by("run_id")[:AT_ONCE])
    for item in items:
        _take_turn(bulk, item)
    if not bulk.items.filter(status=BulkItem.Status.OPEN).exists():
        Bulk.objects.filter(pk=bulk.pk, ended_at=None).update(ended_at=Now())
    hints.changed([item.run_id for item in items[-1:]])
    return len(items)


def _take_turn(bulk: Bulk, item: BulkItem) -> None:
    words = _refusal(bulk, item)
    failpoints.reach("pulled")
    with transaction.atomic():
        status = BulkItem.Status.REFUSED if words else BulkItem.Status.DONE
        mine = BulkItem.objects.filter(bulk=bulk, run_id=item.run_id, status=BulkItem.Status.OPEN)
        if mine.update(status=status, words=words):
            Bulk.objects.filter(pk=bulk.pk).update(done=F("done") + 1)


def _refusal(bulk: Bulk, item: BulkItem) -> str:
    """Pull the lever; "", or why not. That it was pulled before a worker died is told by the audit, which is written in
    the transaction of the deed."""
    lever = LEVERS[bulk.action]
    run = Run.objects.select_related("organization").filter(pk=item.run_id).first()
    if run is None:
        return "The run is not there any more."
    if AuditEntry.objects.filter(target=run.public_id, data__bulk=bulk.public_id).exists():
        return ""
    if not Member.objects.active().filter(pk=bulk.by_id).exists() or not bulk.by.has_role(lever.role):
        return f"{bulk.by.name} may not do this any more."
    try:
        with audit.part_of(bulk=bulk.public_id):
            lever.pull(run, None, {**bulk.given, "reason": bulk.reason}, by=bulk.by)
    except InvalidInput as exc:
        return " ".join(error["message"] for error in exc.errors)
    except OrchestrationError as exc:
        return str(exc)
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # one that always fails is not to hold up those behind it
        log.exception("bulk_item_failed", bulk=bulk.public_id, run=run.public_id)
        return "Something went wrong here; the log of the workers has it."
    return ""
