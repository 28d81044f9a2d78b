"""Who may do what: organizations, their members and roles, API tokens, and the trail of who did what."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import Q

from accounts import sessions
from accounts.clock import ClockTimestamp, database_clock
from accounts.exceptions import (
    AlreadyAMember,
    AlreadyRevoked,
    EmailTaken,
    LastAdmin,
    NotOnlyOurs,
    TokenRefused,
    TooManyViews,
    UnknownRole,
    UnknownScope,
)
from accounts.public_ids import new_token_id

TOKEN_PREFIX = "cs_"  # noqa: S105
LAST_USED_STEP = timedelta(minutes=1)


class User(AbstractUser):
    """A person who signs in. What they may do hangs on their memberships, not on them.

    `home` made the account, and no other organization ever had the person: its admins may help them to sign in.
    """

    home = models.ForeignKey("Organization", null=True, on_delete=models.SET_NULL, editable=False, related_name="+")


class Organization(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug


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


class Scope(models.TextChoices):
    READ = "read"
    RUN = "run"
    DECIDE = "decide"
    BUILD = "build"
    ADMIN = "admin"  # includes the others


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def visible_to(self, member: Member) -> ApiTokenQuerySet:
        return self.filter(member=member)


class ApiToken(models.Model):
    """A key of a member for machines. Only the SHA-256 of it is kept: 256 random bits need no salt."""

    public_id = models.CharField(max_length=40, unique=True, default=new_token_id, editable=False)
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False)  # what people recognize it by
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices), default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.CheckConstraint(condition=Q(scopes__contained_by=Scope.values), name="token_scopes_are_known"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def allows(self, scope: str) -> bool:
        """A token without scopes has all rights of its member; with scopes only those."""
        return not self.scopes or Scope.ADMIN in self.scopes or scope in self.scopes

    @classmethod
    @transaction.atomic
    def issue(
        cls, *, member: Member, name: str, scopes: Collection[str], expires_at: datetime | None, by: Member | None
    ) -> tuple[ApiToken, str]:
        """Make a token; the second value is its plain text, which is kept nowhere. `by` is None for a command."""
        unknown = sorted(set(scopes) - set(Scope.values))
        if unknown:
            raise UnknownScope(f"{', '.join(unknown)} is no scope: {', '.join(Scope.values)} are.")
        plaintext = TOKEN_PREFIX + secrets.token_urlsafe(32)
        token = cls.objects.create(
            member=member,
            name=name,
            prefix=plaintext[:9],
            digest=token_digest(plaintext),
            scopes=sorted(set(scopes)),
            expires_at=expires_at,
        )
        token._record("token.issue", by)
        return token, plaintext

    @classmethod
    def authenticate(cls, plaintext: str) -> ApiToken:
        """The token, its `member` with user and organization loaded. Raises TokenRefused and says why.

        The lookup is by digest: how long it takes tells nothing about the token.
        """
        rows = cls.objects.select_related("member__user", "member__organization")
        token = rows.filter(digest=token_digest(plaintext)).annotate(now=ClockTimestamp()).first()
        if token is None:
            raise TokenRefused("The token is unknown.")
        now: datetime = cast(Any, token).now
        if token.revoked_at is not None:
            raise TokenRefused("The token was revoked.")
        if token.expires_at is not None and token.expires_at <= now:
            raise TokenRefused("The token has expired.")
        if not (token.member.is_active and token.member.user.is_active):
            raise TokenRefused("The member of this token is not active.")
        if token.last_used_at is None or token.last_used_at < now - LAST_USED_STEP:
            cls.objects.filter(pk=token.pk).update(last_used_at=ClockTimestamp())
        return token

    @transaction.atomic
    def revoke(self, *, by: Member | None) -> None:
        """Refuse the token from now on. Raises AlreadyRevoked."""
        if not ApiToken.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=ClockTimestamp()):
            raise AlreadyRevoked
        self._record("token.revoke", by)

    def _record(self, action: str, by: Member | None) -> None:
        AuditEntry.objects.create(
            organization_id=self.member.organization_id,
            actor=by,
            action=action,
            target=self.public_id,
            data={"name": self.name, "member": self.member.name, "scopes": self.scopes},
        )


def token_digest(plaintext: str) -> str:
    return hashlib.sha256(plaintext.encode()).hexdigest()


def expiry_in(duration: timedelta) -> datetime:
    return database_clock() + duration


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def visible_to(self, member: Member) -> AuditEntryQuerySet:
        return self.filter(organization_id=member.organization_id).select_related("actor__user")


class AuditEntry(models.Model):
    """One line of the trail, written in the transaction of what it tells; never changed."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    actor = models.ForeignKey(Member, null=True, on_delete=models.PROTECT, related_name="+")  # null: a command, a clock
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
