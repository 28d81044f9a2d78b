from __future__ import annotations

from typing import Any

from django.db import models, transaction
from django.db.models import Q

from accounts.exceptions import TooManyViews
from accounts.models.members import Member, Role


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def shown_to(self, member: Member) -> SavedViewQuerySet:
        """Their own, and those that active members share with the organization."""
        shared = Q(is_shared=True, member__organization_id=member.organization_id, member__is_active=True)
        return self.filter(Q(member=member) | shared)

    def droppable_by(self, member: Member) -> SavedViewQuerySet:
        return self.shown_to(member) if member.has_role(Role.ADMIN) else self.filter(member=member)


class SavedView(models.Model):
    """Filters of a list, kept by a member under a name: `query` is that of the address."""

    class List(models.TextChoices):
        RUNS = "runs"
        APPROVALS = "approvals"

    MOST = 50  # of a member's

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="saved_views")
    list = models.CharField(max_length=20, choices=List.choices)
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=4000)
    is_shared = models.BooleanField(default=False)  # with the organization

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")
        constraints = (models.UniqueConstraint(fields=("member", "list", "name"), name="one_view_of_a_name"),)

    def __str__(self) -> str:
        return self.name

    def can_be_dropped_by(self, member: Member) -> bool:
        return self.member_id == member.pk or member.has_role(Role.ADMIN)

    @classmethod
    @transaction.atomic
    def keep(cls, member: Member, list_name: str, name: str, query: str, *, is_shared: bool) -> SavedView:
        """In place of one of the same name. Raises TooManyViews."""
        Member.objects.select_for_update(no_key=True).get(pk=member.pk)
        own = cls.objects.filter(member=member)
        if own.count() >= cls.MOST and not own.filter(list=list_name, name=name).exists():
            raise TooManyViews
        named: dict[str, Any] = {"member": member, "list": list_name, "name": name}
        return cls.objects.update_or_create(**named, defaults={"query": query, "is_shared": is_shared})[0]
