from django.db import models
from django.db.models.functions import Now

from accounts.models import Member, Organization


class Bulk(models.Model):
    """One lever on many runs."""

    public_id = models.CharField(max_length=40, unique=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+", db_constraint=False)
    action = models.CharField(max_length=40)
    filters = models.JSONField()
    given = models.JSONField()
    reason = models.TextField()
    by = models.ForeignKey(Member, models.PROTECT, related_name="+", db_constraint=False)
    total = models.IntegerField()
    done = models.IntegerField(db_default=0)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (models.Index(fields=("id",), name="bulk_open", condition=models.Q(ended_at=None)),)

    def __str__(self) -> str:
        return self.public_id


class BulkItem(models.Model):
    """One of its runs, and what came of it."""

    class Status(models.TextChoices):
        OPEN = "open"  # -> done, refused
        DONE = "done"
        REFUSED = "refused"

    pk = models.CompositePrimaryKey("bulk_id", "run_id")
    bulk = models.ForeignKey(Bulk, models.CASCADE, related_name="items", db_index=False)
    run_id = models.BigIntegerField()
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.OPEN)
    words = models.TextField(default="")

    class Meta:
        indexes = (models.Index(fields=("bulk", "run_id"), name="bulk_item_open", condition=models.Q(status="open")),)

    def __str__(self) -> str:
        return f"{self.bulk_id}: {self.run_id}"
