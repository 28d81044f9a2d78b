from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import Q

from accounts import sessions
from accounts.clock import ClockTimestamp
from accounts.exceptions import AlreadyAMember, EmailTaken, LastAdmin, NotOnlyOurs, UnknownRole
from accounts.models.organizations import Organization
from accounts.models.trail import AuditEntry
from accounts.models.users import User


class Role(models.TextChoices):
    VIEWER = "viewer"  # reads
    OPERATOR = "operator"  # starts, cancels, resolves, delivers events
    APPROVER = "approver"  # decides
    BUILDER = "builder"  # saves definitions and agents
    ADMIN = "admin"  # everything


class MemberQuerySet(models.QuerySet["Member"]):
    def active(self) -> MemberQuerySet:
        return self.filter(is_active=True, user__is_active=True)

    def visible_to(self, member: Member) -> MemberQuerySet:
        return self.filter(organization_id=member.organization_id).select_related("user", "organization")


class Member(models.Model):
    """A user in an organization. Every verb of the product names a member as its actor."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="members")
    roles = ArrayField(models.CharField(max_length=20, choices=Role.choices), default=list)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    first_read_at = models.DateTimeField(null=True, editable=False)  # when they first opened what a run had made

    objects = MemberQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("user", "organization"), name="one_membership_per_organization"),
            models.CheckConstraint(condition=Q(roles__contained_by=Role.values), name="member_roles_are_known"),
        )

    def __str__(self) -> str:
        return f"{self.name} in {self.organization.slug}"

    @property
    def name(self) -> str:
        return self.user.username

    def has_role(self, *roles: str) -> bool:
        """Holds at least one of `roles`; an admin holds all. Without `roles`: any active member, as for reading."""
        if not self.is_active:
            return False
        return not roles or Role.ADMIN in self.roles or not set(roles).isdisjoint(self.roles)

    @property
    def is_only_ours(self) -> bool:
        """Whether this organization alone answers for the person: its admins may then help them to sign in."""
        is_of_the_house = self.user.is_superuser or self.user.is_staff
        return self.user.home_id == self.organization_id and not is_of_the_house

    @classmethod
    @transaction.atomic
    def add(
        cls, *, organization: Organization, username: str, email: str, roles: Collection[str], by: Actor
    ) -> tuple[Member, str | None]:
        """A user of that name becomes a member; one who is new gets the second value as password, kept nowhere.

        `email` is only for new ones: what others signed in with is not ours to change. Raises UnknownRole,
        AlreadyAMember, EmailTaken.
        """
        wanted = _known(roles)
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        user, password = User.objects.filter(username__iexact=username).first(), None
        if user is None:
            if email and User.objects.filter(email__iexact=email).exists():
                raise EmailTaken
            password = secrets.token_urlsafe(12)
            user = User.objects.create_user(username=username, email=email, password=password, home=organization)
        if cls.objects.filter(user=user, organization=organization).exists():
            raise AlreadyAMember
        member = cls(user=user, organization=organization, roles=wanted)
        member.join(by=by, is_new=password is not None)
        return member, password

    @transaction.atomic
    def join(self, *, by: Actor, is_new: bool = False) -> None:
        """Become a row. Who came from elsewhere is from now on helped by nobody but themselves."""
        self.save(force_insert=True)
        User.objects.filter(pk=self.user_id).exclude(home=self.organization_id).update(home=None)
        self._record("member.add", by, {"roles": self.roles, "is_new": is_new})

    def note_reading(self) -> None:
        """They opened what a run made: the first time is kept."""
        if self.first_read_at is None:
            Member.objects.filter(pk=self.pk, first_read_at=None).update(first_read_at=ClockTimestamp())

    @transaction.atomic
    def change_roles(self, roles: Collection[str], *, by: Actor) -> None:
        """Raises UnknownRole, LastAdmin."""
        wanted = _known(roles)
        row = self._locked()
        if Role.ADMIN not in wanted:
            row._keep_an_admin()
        Member.objects.filter(pk=self.pk).update(roles=wanted)
        self._record("member.change_roles", by, {"from": row.roles, "to": wanted})
        self.roles = wanted

    @transaction.atomic
    def deactivate(self, *, by: Actor) -> None:
        """From now on they and their tokens are refused, and signed out if there is nothing left for them here; what
        they did keeps their name. Raises LastAdmin."""
        row = self._locked()
        row._keep_an_admin()
        if Member.objects.filter(pk=self.pk, is_active=True).update(is_active=False):
            self._record("member.deactivate", by, {})
            is_needed = self.user.is_staff or self.user.is_superuser
            if not (is_needed or Member.objects.active().filter(user_id=self.user_id).exists()):
                sessions.end_all(self.user_id)
        self.is_active = False

    @transaction.atomic
    def activate(self, *, by: Actor) -> None:
        if Member.objects.filter(pk=self.pk, is_active=False).update(is_active=True):
            self._record("member.activate", by, {})
        self.is_active = True

    @transaction.atomic
    def give_new_password(self, *, by: Member) -> str:
        """The new password, kept nowhere; whoever is signed in with the old one is signed out. Raises NotOnlyOurs."""
        self._may_help()
        password = secrets.token_urlsafe(12)
        self.user.set_password(password)
        self.user.save(update_fields=["password"])
        sessions.end_all(self.user_id)
        self._record("member.new_password", by, {})
        return password

    @transaction.atomic
    def change_email(self, email: str, *, by: Member) -> None:
        """Raises NotOnlyOurs, EmailTaken."""
        self._may_help()
        if email and User.objects.filter(email__iexact=email).exclude(pk=self.user_id).exists():
            raise EmailTaken
        before, self.user.email = self.user.email, email
        self.user.save(update_fields=["email"])
        self._record("member.change_email", by, {"from": before, "to": email})

    def _locked(self) -> Member:
        """Read after a lock on the organization: of two admins who remove each other one comes too late."""
        Organization.objects.select_for_update(no_key=True).get(pk=self.organization_id)
        return Member.objects.get(pk=self.pk)

    def _may_help(self) -> None:
        """Read after a lock on the user, whom another organization may just be adding. Raises NotOnlyOurs."""
        self.user = User.objects.select_for_update(no_key=True).get(pk=self.user_id)
        if not self.is_only_ours:
            raise NotOnlyOurs

    def _keep_an_admin(self) -> None:
        if not (self.is_active and Role.ADMIN in self.roles):
            return
        admins = Member.objects.active().filter(organization_id=self.organization_id, roles__contains=[Role.ADMIN])
        if not admins.exclude(pk=self.pk).exists():
            raise LastAdmin

    def _record(self, action: str, by: Actor, data: Mapping[str, Any]) -> None:
        actor, named = (None, {"by": by.username}) if isinstance(by, User) else (by, {})
        AuditEntry.objects.create(
            organization_id=self.organization_id, actor=actor, action=action, target=self.name, data={**data, **named}
        )


Actor = Member | User | None  # a User: who runs the installation and is a member nowhere; None: a command


def _known(roles: Collection[str]) -> list[str]:
    """In the order of Role. Raises UnknownRole."""
    if not roles or not set(roles) <= set(Role.values):
        raise UnknownRole
    return [role for role in Role.values if role in roles]
