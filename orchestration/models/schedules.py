from typing import Self

from django.db import models
from django.db.models.functions import Now

from accounts.models import Member, Organization
from orchestration.models.definitions import Definition


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def visible_to(self, member: Member) -> Self:
        return self.filter(organization=member.organization, dropped_at=None)

    def for_list(self) -> Self:
        return self.select_related("definition", "paused_by__user").order_by("definition__slug", "place")


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
    definition = models.ForeignKey(Definition, models.CASCADE, related_name="schedules", db_constraint=False)
    place = models.PositiveSmallIntegerField()  # in the definition's list, from 0
    cron = models.CharField(max_length=200)
    zone = models.CharField(max_length=64)
    nth = models.PositiveSmallIntegerField(default=0)
    overlap = models.CharField(max_length=13, choices=Overlap.choices)
    jitter_seconds = models.FloatField(default=0)
    backfill = models.CharField(max_length=4, choices=Backfill.choices)
    given = models.JSONField(null=True)  # the templates of its input
    next_at = models.DateTimeField(null=True)  # null: never again
    last_at = models.DateTimeField(null=True)
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


class ScheduleFire(models.Model):
    """A planned time and what became of it, once: a run, or `why` there is none."""

    pk = models.CompositePrimaryKey("schedule_id", "planned_at")
    schedule = models.ForeignKey(Schedule, models.CASCADE, related_name="fires", db_index=False)
    planned_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())
    run_id = models.BigIntegerField(null=True)
    why = models.TextField(null=True)  # noqa: DJ001  null beside a run

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.planned_at}"
