from typing import Any

from django.db import models
from django.db.models.functions import Now

from accounts.models import Member, Organization
from orchestration.models.results import Payload
from orchestration.models.runs import Run


class OutsideEvent(models.Model):
    """What came from outside: an event for every wait of its organization, or, with `run`, a message to that run."""

    public_id = models.CharField(max_length=40, unique=True)
    organization = models.ForeignKey(Organization, models.DO_NOTHING, db_constraint=False, db_index=False)
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, related_name="messages", db_constraint=False, db_index=False
    )
    name = models.CharField(max_length=200)
    key = models.CharField(max_length=200, db_default="")
    data = models.JSONField(null=True)
    data_digest = models.BinaryField(null=True)
    reply = models.JSONField(null=True)  # what the sender of a message was told, and is told again
    sender_id = models.CharField(max_length=200, null=True)  # noqa: DJ001  the sender's own name for it: it counts once
    by = models.ForeignKey(Member, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+")
    received_at = models.DateTimeField(db_default=Now())
    matched_at = models.DateTimeField(null=True)  # every wait that was open then has been looked at
    taken_key = models.IntegerField(null=True)  # the step of its run that took a message

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "sender_id"),
                name="outside_event_once",
                condition=models.Q(sender_id__isnull=False, run=None),
            ),
            models.UniqueConstraint(
                fields=("run", "sender_id"),
                name="message_once",
                condition=models.Q(sender_id__isnull=False, run__isnull=False),
            ),
        )
        indexes = (
            models.Index(fields=("organization", "name", "key", "id"), name="outside_event_of_name"),
            models.Index(fields=("run", "id"), name="outside_event_of_run", condition=models.Q(run__isnull=False)),
            models.Index(fields=("id",), name="outside_event_pending", condition=models.Q(matched_at=None)),
            models.Index(
                fields=("data_digest",), name="outside_event_digest", condition=models.Q(data_digest__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.key}".strip()

    @property
    def content(self) -> Any:
        """What came with it, wherever it lies."""
        return self.data if self.data_digest is None else Payload.objects.get(digest=self.data_digest).body


class EventWait(models.Model):
    """A step's open wait for an event; it goes when the step stops waiting. `number` tells those of one step apart."""

    pk = models.CompositePrimaryKey("run_id", "key", "number")
    run_id = models.BigIntegerField()
    key = models.IntegerField()
    number = models.IntegerField()
    organization_id = models.BigIntegerField()
    name = models.CharField(max_length=200)
    event_key = models.CharField(max_length=200)
    fence = models.BigIntegerField()
    since = models.DateTimeField()  # events before it are not for this run
    event_id = models.BigIntegerField(null=True)  # the one that ends it
    becomes = models.CharField(max_length=12)  # completed, or ready for a walker to finish

    class Meta:
        indexes = (
            models.Index(fields=("organization_id", "name", "event_key"), name="event_wait_of_name"),
            models.Index(fields=("event_id",), name="event_wait_met", condition=models.Q(event_id__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.run_id}/{self.key} waits for {self.name}"
