from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Value
from django.db.models.functions import Cast, Concat, Now

from accounts.models import Member, Organization

# Rows that steps and starts share while they run. Only the engine's functions write them.


class Limit(models.Model):
    """How many at once, or how many in a time, under a key of an organization."""

    class Kind(models.TextChoices):
        STEPS = "steps", "Steps at once"
        RATE = "rate", "Steps in a time"
        STARTS = "starts", "Runs at once"
        START_RATE = "start_rate", "Starts in a time"
        BUDGET = "budget"  # nobody holds it; who waits for a raise stands in its line

    public_id = models.CharField(
        max_length=40, unique=True, db_default=Concat(Value("lim_"), Cast(RandomUUID(), models.TextField()))
    )
    organization = models.ForeignKey(Organization, models.DO_NOTHING, db_constraint=False, db_index=False)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    key = models.CharField(max_length=500)
    max = models.IntegerField(null=True)  # as the last that asked said
    per = models.FloatField(null=True)  # seconds
    max_override = models.IntegerField(null=True)  # as a person said
    per_override = models.FloatField(null=True)
    taken = models.IntegerField(db_default=0)
    promised = models.IntegerField(db_default=0)  # to those who were woken and have not come yet
    total = models.BigIntegerField(db_default=0)  # units granted ever
    used_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(
        Member, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    changed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "kind", "key"), name="limit_once"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"

    @property
    def most(self) -> int:
        """As it counts now; 0 for one that nobody has asked yet."""
        return self.max_override or self.max or 0

    @property
    def span(self) -> float | None:
        return self.per_override or self.per


class LimitSlot(models.Model):
    """One that a step, or with key 0 a run, holds."""

    pk = models.CompositePrimaryKey("limit_id", "run_id", "key")
    limit_id = models.BigIntegerField()
    run_id = models.BigIntegerField()
    key = models.IntegerField()
    fence = models.BigIntegerField()
    since = models.DateTimeField(db_default=Now())
    stirred_at = models.DateTimeField(null=True)  # its step moved: who has the limit next looks whether it is held

    class Meta:
        indexes = (
            models.Index(fields=("run_id", "key"), name="limit_slot_of_step"),
            models.Index(fields=("limit_id",), name="limit_slot_stirred", condition=models.Q(stirred_at__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.run_id}/{self.key} holds {self.limit_id}"


class LimitPlace(models.Model):
    """A place in a limit's line."""

    limit_id = models.BigIntegerField()
    run_id = models.BigIntegerField()
    key = models.IntegerField()
    fence = models.BigIntegerField()
    priority = models.SmallIntegerField(db_default=0)
    since = models.DateTimeField(db_default=Now())
    units = models.IntegerField(db_default=1)  # of a rate
    woken_at = models.DateTimeField(null=True)  # when there is room for it
    stirred_at = models.DateTimeField(null=True)  # its step or run moved
    evicts = models.BigIntegerField(null=True)  # the run that is to be canceled for it

    class Meta:
        db_table = "orchestration_limitqueue"
        indexes = (
            models.Index(fields=("run_id", "key"), name="limit_place_of_step"),
            models.Index(fields=("woken_at",), name="limit_place_woken", condition=models.Q(woken_at__isnull=False)),
            models.Index(
                fields=("limit_id",), name="limit_place_stirred", condition=models.Q(stirred_at__isnull=False)
            ),
            models.Index(
                fields=("limit_id", "-priority", "id"), name="limit_place_next", condition=models.Q(woken_at=None)
            ),
        )

    def __str__(self) -> str:
        return f"{self.run_id}/{self.key} waits for {self.limit_id}"


class RateHit(models.Model):
    """Units granted under a rate, as the step went: `upto` is how many had been granted with these."""

    pk = models.CompositePrimaryKey("limit_id", "upto")
    limit_id = models.BigIntegerField()
    upto = models.BigIntegerField()
    units = models.IntegerField(db_default=1)
    at = models.DateTimeField()
    run_id = models.BigIntegerField(null=True)  # of the step they were granted to
    key = models.IntegerField(null=True)

    def __str__(self) -> str:
        return f"{self.limit_id} up to {self.upto}"


class Debounce(models.Model):
    """The run in which the starts under a key come together."""

    pk = models.CompositePrimaryKey("definition_id", "key")
    organization_id = models.BigIntegerField()
    definition_id = models.BigIntegerField()
    key = models.CharField(max_length=200)
    run_id = models.BigIntegerField()
    first_at = models.DateTimeField()
    starts = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.definition_id}/{self.key}"
