from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from accounts.models import Member, Organization, Role


class PolicyQuerySet(models.QuerySet["Policy"]):
    def visible_to(self, member: Member) -> PolicyQuerySet:
        return self.filter(organization_id=member.organization_id)


class Policy(models.Model):
    """Who may answer."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="policies")
    slug = models.SlugField()
    roles = ArrayField(models.CharField(max_length=20, choices=Role.choices))  # one of them is enough
    not_the_requester = models.BooleanField(default=False)

    objects = PolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "policies"
        ordering = ("slug",)
        constraints = (
            models.UniqueConstraint(fields=("organization", "slug"), name="one_policy_of_a_name"),
            models.CheckConstraint(
                condition=Q(roles__contained_by=Role.values) & ~Q(roles=[]), name="policy_roles_are_known"
            ),
        )

    def __str__(self) -> str:
        return self.slug

    @property
    def who(self) -> str:
        """ "an operator or an approver"."""
        return " or ".join(f"{'an' if role[0] in 'aeiou' else 'a'} {role}" for role in self.roles)
