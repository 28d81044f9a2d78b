from typing import Self

from django.db import models
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce, Now

from accounts.models import Member, Organization


class BulkQuerySet(models.QuerySet["Bulk"]):
    def visible_to(self, member: Member) -> Self:
        return self.filter(organization_id=member.organization_id)

    def for_list(self) -> Self:
        """Newest first, each with how many runs refused, as `refused`."""
        refused = BulkItem.objects.filter(bulk=OuterRef("pk"), status=BulkItem.Status.REFUSED).order_by()
        count = refused.values("bulk").annotate(many=Count("run_id")).values("many")
        return self.select_related("by__user").annotate(refused=Coalesce(Subquery(count), 0)).order_by("-pk")


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

    refused: int  # of a row of `for_list`
    objects = BulkQuerySet.as_manager()

    class Meta:
        indexes = (models.Index(fields=("id",), name="bulk_open", condition=models.Q(ended_at=None)),)

    def __str__(self) -> str:
        return self.public_id

    @property
    def worked(self) -> int:
        """To how many runs it was done; of a row of `for_list`."""
        return self.done - self.refused


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
