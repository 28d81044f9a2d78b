from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from accounts.clock import ClockTimestamp
from accounts.models.organizations import Organization

if TYPE_CHECKING:
    from accounts.models.members import Member


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def visible_to(self, member: Member) -> AuditEntryQuerySet:
        return self.filter(organization_id=member.organization_id).select_related("actor__user")


class AuditEntry(models.Model):
    """One line of the trail, written in the transaction of what it tells; never changed."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    actor = models.ForeignKey(
        "Member", null=True, on_delete=models.PROTECT, related_name="+"
    )  # null: a command, a clock
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=200)
    data = models.JSONField(default=dict)

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = ("-pk",)
        indexes = (
            models.Index(fields=("organization", "-id"), name="audit_of_organization"),
            models.Index(fields=("target",), name="audit_of_target"),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.target}"
