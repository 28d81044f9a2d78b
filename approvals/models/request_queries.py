"""Which requests: those that wait, those a member sees or may answer, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce

from accounts.models import Member, Role
from approvals.models.policies import Policy
from approvals.models.statuses import ANSWERED, Status

if TYPE_CHECKING:
    from approvals.models.requests import Request

ENDED_AT = Coalesce("decided_at", "acknowledged_at")  # the latter: of one that was withdrawn


class RequestQuerySet(models.QuerySet["Request"]):
    def pending(self) -> RequestQuerySet:
        return self.filter(status=Status.PENDING)

    def unacknowledged(self) -> RequestQuerySet:
        """Answered, and the asker has not taken it up yet."""
        return self.filter(status__in=ANSWERED, acknowledged_at=None)

    def visible_to(self, member: Member) -> RequestQuerySet:
        """Those of the organization. What its asker shows to some roles only, as `visible_to` of the context says, is
        seen by these and by who may be asked."""
        rows = self.filter(organization_id=member.organization_id)
        if member.has_role(Role.ADMIN):
            return rows
        asked = Policy.objects.filter(organization_id=member.organization_id, roles__overlap=member.roles).values("pk")
        shown = Q(context__visible_to__has_any_keys=list(member.roles)) | Q(policy__in=asked)
        return rows.filter(~Q(context__has_key="visible_to") | shown)

    def decidable_by(self, member: Member) -> RequestQuerySet:
        """Pending ones that `member` may answer: as `refusal_of` says it, for many rows at once."""
        rows = self.visible_to(member).pending()
        if not member.has_role():
            return rows.none()
        if Role.ADMIN not in member.roles:
            rows = rows.filter(policy__roles__overlap=member.roles)
        return rows.exclude(policy__not_the_requester=True, requested_by=member)

    def ended(self) -> RequestQuerySet:
        """With `ended_at`."""
        return self.exclude(status=Status.PENDING).annotate(ended_at=ENDED_AT)

    def of_run(self, *runs: str) -> RequestQuerySet:
        """Those whose asker put one of `runs` into their context."""
        return self.alias(context_run=KT("context__run")).filter(context_run__in=runs)

    def for_inbox(self) -> RequestQuerySet:
        return self.select_related("policy", "requested_by__user", "decided_by__user")

    def without_payloads(self) -> RequestQuerySet:
        """For lists: what may be large is read when asked for."""
        return self.defer("payload", "answer", "payload_schema", "digest_parts")

    def by_due(self, after: Request | None = None) -> RequestQuerySet:
        """Those due first at the front, those without a deadline last; only those behind `after`."""
        rows = self
        if after is not None and after.deadline_at is not None:
            later = Q(deadline_at__gt=after.deadline_at) | Q(deadline_at=None)
            rows = rows.filter(later | Q(deadline_at=after.deadline_at, pk__gt=after.pk))
        elif after is not None:
            rows = rows.filter(deadline_at=None, pk__gt=after.pk)
        return rows.order_by(F("deadline_at").asc(nulls_last=True), "pk")

    def by_end(self, after: Request | None = None) -> RequestQuerySet:
        """Of `ended()`: the last to end at the front; only those behind `after`, which is one of them."""
        rows = self
        if after is not None:
            at = after.ended_at  # type: ignore[attr-defined]
            rows = rows.filter(ended_at__lte=at).exclude(ended_at=at, pk__gte=after.pk)  # type: ignore[misc]
        return rows.order_by(ENDED_AT.desc(), "-pk")
