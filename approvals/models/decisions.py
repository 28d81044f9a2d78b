from django.db import models
from django.db.models import Q

from accounts.models import Member
from approvals.models.requests import Request
from approvals.models.words import LONGEST_CHOICE


class Decision(models.Model):
    """One person's answer as it was given. `late`: after the end, kept as evidence, never effective."""

    request = models.ForeignKey(Request, on_delete=models.PROTECT, related_name="decisions")
    member = models.ForeignKey(Member, null=True, on_delete=models.PROTECT, related_name="decisions")
    choice = models.CharField(max_length=LONGEST_CHOICE)
    note = models.TextField(default="")
    edits = models.JSONField(default=dict)
    digest_seen = models.CharField(max_length=64)
    door = models.CharField(max_length=20)
    at = models.DateTimeField()
    late = models.BooleanField(default=False)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("request",), condition=Q(late=False), name="one_effective_decision"),
        )

    def __str__(self) -> str:
        return f"{self.choice} on {self.request_id}"
