from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, cast

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import Q

from accounts.clock import ClockTimestamp, database_clock
from accounts.exceptions import AlreadyRevoked, TokenRefused, UnknownScope
from accounts.models.members import Member
from accounts.models.trail import AuditEntry
from accounts.public_ids import new_token_id

TOKEN_PREFIX = "cs_"  # noqa: S105
LAST_USED_STEP = timedelta(minutes=1)


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
