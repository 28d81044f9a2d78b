"""Starts the runs of schedules. Each planned time has its turn once, in a transaction of its own under the schedule's
lock: a run, or a row that says why there is none."""

import contextlib
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts.clock import database_clock
from accounts.models import Member
from accounts.public_ids import new_public_id
from orchestration.engine import answers, failpoints
from orchestration.engine.settling import each
from orchestration.engine.starts import start_version
from orchestration.exceptions import InvalidInput, NoSuchTimes, OrchestrationError, RunEnded
from orchestration.language.expressions import ExpressionError, compile_template
from orchestration.models import Run, Schedule, ScheduleFire

LATE = timedelta(minutes=5)  # later than this, nobody was at work when the time came
QUEUE_LOOK = timedelta(seconds=5)  # how soon a run that waits for another is looked at again


def start_due() -> int:
    """Give the times that have come their turn; how many schedules."""
    return each(Schedule.objects.due(), _take_turn)


def _take_turn(key: int) -> None:
    _make_room(Schedule.objects.get(pk=key))
    with transaction.atomic():
        schedule = Schedule.objects.due().select_for_update(skip_locked=True, no_key=True).filter(pk=key).first()
        if schedule is not None:
            _turn(schedule, database_clock())
            failpoints.reach("fired")


def open_runs(schedule: Schedule) -> QuerySet[Run]:
    return Run.objects.filter(schedule_id=schedule.pk, ended_at=None)


def _make_room(schedule: Schedule) -> None:
    """Before the schedule is locked: runs come before it in the order of locks. Never one that another process has just
    started for this same time."""
    planned = schedule.times.after(schedule.last_at) if schedule.last_at else None
    if schedule.overlap == Schedule.Overlap.CANCEL_OLDEST and planned is not None:
        for run in open_runs(schedule).filter(planned_at__lt=planned).exclude(status=Run.Status.CANCELING):
            with contextlib.suppress(RunEnded):
                answers.cancel(run, by=None, reason="The next run of its schedule begins.")


def _turn(schedule: Schedule, now: datetime) -> None:
    if schedule.queued_at is not None and not open_runs(schedule).exists():
        _begin(schedule, schedule.queued_at)
        schedule.queued_at = None
    all_of_them = schedule.backfill == Schedule.Backfill.ALL
    missed = schedule.missed(now, settings.SCHEDULE_MOST_MISSED if all_of_them else 1)
    last = schedule.last_at or now
    if missed:
        planned = missed[0] if all_of_them else missed[-1]
        first = schedule.times.after(last)
        if first is not None and first < planned:
            _tell(schedule, first, "It passed while nobody was at work, as may have others after it.")
        _begin_or_not(schedule, planned, now)
        last = planned
    schedule.go_on(last)
    if schedule.queued_at is not None:
        schedule.next_at = min(filter(None, [schedule.next_at, now + QUEUE_LOOK]))
    schedule.save(update_fields=["last_at", "next_at", "queued_at"])


def _begin_or_not(schedule: Schedule, planned: datetime, now: datetime) -> None:
    busy = open_runs(schedule).first() if schedule.overlap in ("skip", "queue") else None
    if schedule.backfill == Schedule.Backfill.NONE and now - schedule.begins_at(planned) > LATE:
        _tell(schedule, planned, "It passed while nobody was at work.")
    elif schedule.queued_at is not None:
        _tell(schedule, planned, "The run of an earlier time was still waiting for its turn.")
    elif busy is None:
        _begin(schedule, planned)
    elif schedule.overlap == Schedule.Overlap.QUEUE:
        schedule.queued_at = planned
    else:
        _tell(schedule, planned, f"Run {busy.public_id} of this schedule was still open.")


def _begin(schedule: Schedule, planned: datetime) -> int | None:
    """The new run, or None: then the row says why."""
    definition = schedule.definition
    if definition.archived_at is not None or definition.current_version_id is None:
        _tell(schedule, planned, "The definition is archived.")
        return None
    before = schedule.fires.filter(run_id__gt=0, planned_at__lt=planned).order_by("-planned_at").first()
    values = {"at": _text(schedule, planned), "last": _text(schedule, before.planned_at) if before else None}
    try:
        with transaction.atomic():
            given = compile_template(schedule.given).evaluate({"schedule": values})
            facts = {"schedule": schedule.pk, "planned_at": planned.isoformat()}
            public = new_public_id("run")
            version = definition.version_for(public) or 0
            run = start_version(version, schedule.organization_id, given, by=None, facts=facts, public=public)
    except (ExpressionError, OrchestrationError) as exc:
        _tell(schedule, planned, _words(exc))
        return None
    ScheduleFire.objects.create(schedule=schedule, planned_at=planned, run_id=run)
    return run


def _text(schedule: Schedule, at: datetime) -> str:
    return at.astimezone(schedule.times.zone).isoformat(timespec="seconds")


def _words(exc: Exception) -> str:
    errors = (
        [f"{error['pointer']}: {error['message']}" for error in exc.errors] if isinstance(exc, InvalidInput) else []
    )
    return " ".join([str(exc), *errors])[:2_000]


def _tell(schedule: Schedule, planned: datetime, why: str) -> None:
    ScheduleFire.objects.create(schedule=schedule, planned_at=planned, why=why)


# --- by hand


def run_now(schedule: Schedule, *, by: Member | None, reason: str) -> Run:
    """A run as the schedule starts them, at this moment, whatever else is open. Raises NoSuchTimes."""
    now = database_clock().replace(microsecond=0)
    return _begun(schedule, [now], "run", by, reason)[0]


def backfill(schedule: Schedule, after: datetime, upto: datetime, *, by: Member | None, reason: str) -> list[Run]:
    """Runs for the times after the one moment, up to the other, that have none; oldest first. Raises NoSuchTimes."""
    if upto > database_clock():
        raise NoSuchTimes("Times that are still to come cannot be made up.")
    planned = list(schedule.times.between(after, upto)) if upto - after <= timedelta(days=400) else []
    if not planned:
        raise NoSuchTimes("No time of this schedule lies there; say at most 400 days.")
    if len(planned) > settings.SCHEDULE_MOST_MISSED:
        raise NoSuchTimes(
            f"{len(planned)} times lie there; SCHEDULE_MOST_MISSED allows {settings.SCHEDULE_MOST_MISSED}."
        )
    return _begun(schedule, planned, "backfill", by, reason)


def _begun(schedule: Schedule, planned: list[datetime], what: str, by: Member | None, reason: str) -> list[Run]:
    with transaction.atomic():
        row = Schedule.objects.select_for_update(no_key=True).filter(pk=schedule.pk).first()
        if row is None:
            raise NoSuchTimes("The schedule was deleted meanwhile, with its definition.")
        done = set(row.fires.filter(planned_at__in=planned, run_id__gt=0).values_list("planned_at", flat=True))
        row.fires.filter(planned_at__in=planned, run=None).delete()
        runs = [run for at in planned if at not in done and (run := _begin(row, at)) is not None]
        if not runs:
            why = row.fires.filter(planned_at__in=planned, run=None).values_list("why", flat=True).first()
            raise NoSuchTimes(why or "Each of these times has its run already.")
        begun = Run.objects.for_list().in_bulk(runs)
        row.tell(what, by, reason, runs=[begun[run].public_id for run in runs])
    return [begun[run] for run in runs]
