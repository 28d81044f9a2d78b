import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models, transaction
from django.db.models.functions import Now

from accounts import audit
from accounts.clock import ClockTimestamp, database_clock
from accounts.models import Member, Organization
from accounts.public_ids import new_public_id
from orchestration.language.cron import Cron, cron_of

TURNS_SHOWN = 3
FIRES_SHOWN = 20


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def visible_to(self, member: Member) -> Self:
        return self.filter(organization_id=member.organization_id, dropped_at=None)

    def for_list(self) -> Self:
        return self.select_related("definition", "paused_by__user").order_by("definition__slug", "place")

    def due(self) -> Self:
        return self.filter(paused_at=None, dropped_at=None, next_at__lte=ClockTimestamp())


class Schedule(models.Model):
    """One entry under a definition's `schedule`, as its current version has it. Known again in the next version by its
    times, so that a pause survives; `nth` tells apart those with the same times."""

    class Overlap(models.TextChoices):
        SKIP = "skip"
        QUEUE = "queue"
        CANCEL_OLDEST = "cancel_oldest"
        ALLOW = "allow"

    class Backfill(models.TextChoices):
        LAST = "last"
        NONE = "none"
        ALL = "all"

    public_id = models.CharField(max_length=40, unique=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+", db_constraint=False)
    definition = models.ForeignKey(
        "orchestration.Definition", models.CASCADE, related_name="schedules", db_constraint=False
    )
    place = models.PositiveSmallIntegerField()  # in the definition's list, from 0
    cron = models.CharField(max_length=200)
    zone = models.CharField(max_length=64)
    nth = models.PositiveSmallIntegerField(default=0)
    overlap = models.CharField(max_length=13, choices=Overlap.choices)
    jitter_seconds = models.FloatField(default=0)
    backfill = models.CharField(max_length=4, choices=Backfill.choices)
    given = models.JSONField(null=True)  # the templates of its input
    next_at = models.DateTimeField(null=True)  # when to look at it; null: never again
    last_at = models.DateTimeField(null=True)  # the time that had its turn last; at first, when it was saved
    queued_at = models.DateTimeField(null=True)  # a time whose run waits for the end of the one before
    paused_at = models.DateTimeField(null=True)
    paused_by = models.ForeignKey(Member, models.PROTECT, null=True, related_name="+", db_constraint=False)
    dropped_at = models.DateTimeField(null=True)  # the current version has it no longer

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("definition", "cron", "zone", "nth"), name="schedule_times_once"),
        )
        indexes = (
            models.Index(fields=("next_at",), name="schedule_due", condition=models.Q(paused_at=None, dropped_at=None)),
        )

    def __str__(self) -> str:
        return f"{self.cron} {self.zone}"

    @property
    def times(self) -> Cron:
        return cron_of(self.cron, self.zone)

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None

    @property
    def following(self) -> list[datetime]:
        """Its next times, as people see them; none while it is paused."""
        found: list[datetime] = []
        at = None if self.is_paused or self.last_at is None else self.times.after(self.last_at)
        while at is not None and len(found) < TURNS_SHOWN:
            found.append(at)
            at = self.times.after(at)
        return found

    @property
    def newest_fires(self) -> list["ScheduleFire"]:
        """The last times that had their turn."""
        return list(self.fires.select_related("run").order_by("-planned_at")[:FIRES_SHOWN])

    def begins_at(self, planned: datetime) -> datetime:
        """With its jitter: a share of it that is the same for everyone."""
        digest = hashlib.sha256(f"{self.pk} {planned.timestamp()}".encode()).digest()
        return planned + timedelta(seconds=self.jitter_seconds * int.from_bytes(digest[:8], "big") / 2**64)

    def missed(self, now: datetime, most: int) -> list[datetime]:
        """The times whose turn has come, the last of them, at most so many."""
        found = self.times.latest(self.last_at or now, now, most)
        return [planned for planned in found if self.begins_at(planned) <= now]

    def go_on(self, after: datetime) -> None:
        """Look at it next when it begins after this time. Not saved."""
        self.last_at = after
        following = self.times.after(after)
        self.next_at = self.begins_at(following) if following else None

    @transaction.atomic
    def pause(self, *, by: Member | None, reason: str) -> None:
        """Nothing starts from now on. Again: nothing changes."""
        row = self._locked()
        if not row.is_paused:
            row.paused_at, row.paused_by = database_clock(), by
            row.save(update_fields=["paused_at", "paused_by"])
            row.tell("pause", by, reason)

    @transaction.atomic
    def resume(self, *, by: Member | None, reason: str) -> None:
        """Times that passed meanwhile are not made up: the next one is the first. Again: nothing changes."""
        row = self._locked()
        if row.is_paused:
            row.paused_at = row.paused_by = row.queued_at = None
            row.go_on(database_clock())
            row.save(update_fields=["paused_at", "paused_by", "queued_at", "last_at", "next_at"])
            row.tell("resume", by, reason)

    def _locked(self) -> "Schedule":
        return Schedule.objects.select_for_update(no_key=True).get(pk=self.pk)

    def tell(self, what: str, by: Member | None, reason: str, **more: Any) -> None:
        audit.record(
            organization=self.organization,
            actor=by,
            action=f"schedule.{what}",
            target=self.public_id,
            data={"times": str(self), "reason": reason, **more},
        )


def follow(definition: models.Model, organization: Organization, entries: Sequence[dict[str, Any]]) -> None:
    """Keep the schedules of a definition as its newest version has them. In the transaction that saves it."""
    rows = Schedule.objects.select_for_update(no_key=True).filter(definition=definition.pk).order_by("pk")
    known = {(row.cron, row.zone, row.nth): row for row in rows}
    if not entries and not known:
        return
    now = database_clock()
    seen: dict[tuple[str, str], int] = {}
    for place, entry in enumerate(entries):
        times = (entry["cron"], entry["zone"])
        nth = seen[times] = seen.get(times, -1) + 1
        row = known.pop((*times, nth), None)
        begins_anew = row is None or row.dropped_at is not None
        if row is None:
            row = Schedule(
                public_id=new_public_id("sch"), organization=organization, definition_id=definition.pk, nth=nth
            )
            row.cron, row.zone = times
        row.place, row.overlap, row.backfill = place, entry["overlap"], entry["backfill"]
        row.jitter_seconds, row.given, row.dropped_at = entry["jitter"], entry["with"], None
        if begins_anew:
            row.paused_at = row.paused_by = None
        if row.pk is None:
            row.save()  # its jitter goes by its key
        row.go_on(now if begins_anew or row.last_at is None else row.last_at)
        row.save()
    for row in known.values():
        if row.dropped_at is None:
            row.dropped_at, row.queued_at = now, None
            row.save(update_fields=["dropped_at", "queued_at"])


class ScheduleFire(models.Model):
    """A planned time and what became of it, once: a run, or `why` there is none."""

    pk = models.CompositePrimaryKey("schedule_id", "planned_at")
    schedule = models.ForeignKey(Schedule, models.CASCADE, related_name="fires", db_index=False)
    planned_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())
    run = models.ForeignKey(
        "orchestration.Run", models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    why = models.TextField(null=True)  # noqa: DJ001  null beside a run

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.planned_at}"
