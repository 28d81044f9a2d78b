from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import structlog
from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.fields.json import KT

from accounts import audit
from accounts.clock import ClockTimestamp, database_clock
from accounts.models import Member, Organization
from accounts.public_ids import new_public_id
from approvals import effects
from approvals.derived import Derivation, derivation_of
from approvals.difference import difference
from approvals.digests import digest_of
from approvals.editing import check_schema, edited
from approvals.exceptions import AlreadyEnded, InvalidAnswer, NotAllowed, StaleDigest
from approvals.models.policies import Policy
from approvals.models.request_queries import ENDED_AT, RequestQuerySet
from approvals.models.statuses import Status
from approvals.models.words import ABORT, CONTINUE, LONGEST_CHOICE, RETRY, Words, past_of_choice, words_of_choice

log = structlog.get_logger(__name__)
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
LOOK_BEYOND = 10  # times the limit: so many of those due may be locked or fail before the rest would wait for them


def default_choices() -> list[str]:
    return [CONTINUE, RETRY, ABORT]


def new_request_id() -> str:
    return new_public_id("req")


class Request(models.Model):
    """What will happen, and the answer. `digest` names it: a decision names the digest it saw."""

    public_id = models.CharField(max_length=40, unique=True, default=new_request_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="requests")
    subject = models.CharField(max_length=300)  # the same for each round of one question
    context = models.JSONField(default=dict)  # for people: definition, run, step, url, words ({choice: [name, effect]})
    title = models.TextField()
    payload = models.JSONField(null=True)
    choices = ArrayField(models.CharField(max_length=LONGEST_CHOICE), default=default_choices)
    editable = ArrayField(models.TextField(), default=list)  # JSON Pointers; * is any one key or index
    payload_schema = models.JSONField(null=True)
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="requests")
    requested_by = models.ForeignKey(Member, null=True, on_delete=models.PROTECT, related_name="requests")
    digest = models.CharField(max_length=64)
    digest_parts = models.JSONField()  # {definition, steps}: what is in the digest besides payload and choices
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    deadline_at = models.DateTimeField(null=True)
    deadline_choice = models.CharField(max_length=LONGEST_CHOICE, null=True)  # noqa: DJ001  null with no deadline
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    decided_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    choice = models.CharField(max_length=LONGEST_CHOICE, null=True)  # noqa: DJ001  null until answered
    answer = models.JSONField(null=True)  # the payload after edits
    answer_digest = models.CharField(max_length=64, null=True)  # noqa: DJ001  null until answered
    note = models.TextField(default="")
    decided_by = models.ForeignKey(Member, null=True, on_delete=models.PROTECT, related_name="+")

    objects = RequestQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=("subject",), condition=Q(status="pending"), name="one_pending_request"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="request_status_is_known"),
            models.CheckConstraint(
                condition=Q(status__in=("pending", "withdrawn"), decided_at=None, choice=None, answer_digest=None)
                | Q(
                    status__in=("decided", "expired"),
                    decided_at__isnull=False,
                    choice__isnull=False,
                    answer_digest__isnull=False,
                ),
                name="answered_has_its_answer",
            ),
            models.CheckConstraint(
                condition=Q(status="decided", decided_by__isnull=False)
                | (~Q(status="decided") & Q(decided_by__isnull=True)),
                name="decided_has_its_decider",
            ),
            models.CheckConstraint(
                condition=Q(deadline_at=None, deadline_choice=None)
                | Q(deadline_at__isnull=False, deadline_choice__isnull=False),
                name="deadline_has_its_choice",
            ),
            models.CheckConstraint(
                condition=~Q(status="pending") | Q(acknowledged_at=None), name="pending_is_not_acknowledged"
            ),
        )
        indexes = (
            models.Index(fields=("organization", "-id"), name="requests_of_organization"),
            models.Index(fields=("organization", "-id"), condition=Q(status="pending"), name="requests_pending"),
            models.Index(
                "organization", ENDED_AT.desc(), F("id").desc(), condition=~Q(status="pending"), name="requests_ended"
            ),
            models.Index(KT("context__run"), name="requests_of_run"),
            models.Index(fields=("subject", "digest"), name="requests_of_subject"),
            models.Index(
                fields=("deadline_at",),
                condition=Q(status="pending", deadline_at__isnull=False),
                name="requests_overdue",
            ),
            models.Index(
                fields=("id",),
                condition=Q(status__in=("decided", "expired"), acknowledged_at=None),
                name="requests_unacknowledged",
            ),
        )

    def __str__(self) -> str:
        return f"{self.title} ({self.public_id})"

    # --- reads

    @property
    def run(self) -> str | None:
        found: str | None = self.context.get("run")
        return found

    @property
    def step(self) -> str | None:
        found: str | None = self.context.get("step")
        return found

    @property
    def told_title(self) -> str:
        """For who may not see it: its step's name, if it is shown to some roles only."""
        return str(self.step) if "visible_to" in self.context else self.title

    @property
    def url(self) -> str | None:
        found: str | None = self.context.get("url")
        return found

    def word_of(self, choice: str) -> str:
        """A choice as people read it: in the asker's own words, if it has some."""
        own = self.context.get("words", {}).get(choice)
        return str(own[0]) if own else words_of_choice(choice)

    @property
    def choice_words(self) -> list[str]:
        return [self.word_of(choice) for choice in self.choices]

    @property
    def choice_word(self) -> str:
        return self.word_of(self.choice) if self.choice else ""

    @property
    def choice_past(self) -> str:
        """What was decided, in a list."""
        own = self.context.get("words", {}).get(self.choice)
        return str(own[0]) if own else past_of_choice(self.choice) if self.choice else ""

    @property
    def deadline_word(self) -> str:
        return self.word_of(self.deadline_choice) if self.deadline_choice else ""

    def can_be_decided_by(self, member: Member, *, at: datetime) -> bool:
        """Whether an answer of `member` at `at` (the database's time) would be more than refused or late."""
        return not self.ended_as(at) and not self.refusal_of(member)

    def refusal_of(self, member: Member) -> str:
        """Why `member` may not answer, whatever the answer, or ""."""
        if member.organization_id != self.organization_id:
            return "This request belongs to another organization."
        if not member.has_role(*self.policy.roles):
            return f"The policy {self.policy.slug} lets only {' or '.join(self.policy.roles)} decide."
        if self.policy.not_the_requester and member.pk == self.requested_by_id:
            return f"The policy {self.policy.slug} does not let the one who started it decide."
        return ""

    def ended_as(self, at: datetime) -> str:
        """What it is at `at` (the database's time), past its deadline "expired" before anyone wrote that; or ""."""
        if self.status == Status.PENDING and self.deadline_at is not None and at >= self.deadline_at:
            return Status.EXPIRED
        return "" if self.status == Status.PENDING else self.status

    def shown_as(self, digest: str) -> Request:
        """The round of this question that had this digest; this one, if none had."""
        if digest == self.digest:
            return self
        return self._round_of(digest) or self

    def earlier(self) -> Request | None:
        """The round before."""
        return self._rounds().filter(pk__lt=self.pk).order_by("-pk").select_related("decided_by__user").first()

    def newer(self) -> Request | None:
        """The newest round after it, to link to."""
        return self._rounds().filter(pk__gt=self.pk).order_by("-pk").without_payloads().first()

    @cached_property
    def derivation(self) -> Derivation | None:
        return derivation_of(self)

    def answer_with(self, edits: Mapping[str, Any]) -> Any:
        """The payload with these edits and what follows from them, as it would go on. Raises InvalidAnswer."""
        answer = edited(self.payload, edits, editable=self.editable, schema=self.payload_schema)
        if edits and self.derivation is not None:
            answer = self.derivation.applied(answer)
            check_schema(answer, self.payload_schema)
        return answer

    # --- verbs

    @classmethod
    def ask(
        cls,
        *,
        organization: Organization,
        subject: str,
        title: str,
        payload: Any,
        choices: Sequence[str],
        editable: Sequence[str],
        payload_schema: Mapping[str, Any] | bool | None,
        policy: Policy,
        requested_by: Member | None,
        definition_digest: str,
        steps: Iterable[Sequence[str]],
        deadline_at: datetime | None,
        deadline_choice: str | None,
        context: Mapping[str, Any],
    ) -> Request:
        """Put the question, inside the asker's transaction. `steps` are (name, agent version's digest) behind the gate.

        Raises IntegrityError while another request of `subject` is pending (`one_pending_request`).
        """
        steps = sorted(list(step) for step in steps)
        return cls.objects.create(
            organization=organization,
            subject=subject,
            title=title,
            payload=payload,
            choices=list(choices),
            editable=list(editable),
            payload_schema=payload_schema,
            policy=policy,
            requested_by=requested_by,
            digest=digest_of(payload, choices, definition_digest, steps),
            digest_parts={"definition": definition_digest, "steps": steps},
            deadline_at=deadline_at,
            deadline_choice=deadline_choice,
            context=dict(context),
        )

    def decide(
        self,
        *,
        by: Member,
        choice: str,
        digest: str,
        note: str = "",
        edits: Mapping[str, Any] | None = None,
        door: str = "api",
    ) -> Request:
        """Answer; the only writer of one. Gives the row as it is then. It locks this request only, never a run.

        Refusals, in this order: NotAllowed, AlreadyEnded (the answer is kept as a late decision), StaleDigest,
        InvalidAnswer. All four are raised after the transaction, so that the evidence stays.
        """
        words = Words(choice, digest, note, edits or {}, door)
        with transaction.atomic():
            row = Request.objects.select_for_update(no_key=True, of=("self",)).for_inbox().get(pk=self.pk)
            at = database_clock()  # after the lock: an answer that waited past the deadline is late
            by = Member.objects.select_related("user").get(pk=by.pk)
            refusal = row.refusal_of(by)
            if refusal:
                raise NotAllowed(refusal)
            ended_as = row.ended_as(at)
            if not ended_as:
                row._answer(by, words, at)
            elif not words.findings():
                row._keep(by, words, at, late=True)
        if ended_as:
            raise AlreadyEnded(ended_as=ended_as)
        return row

    @transaction.atomic
    def change(self, *, by: Member | None, data: Mapping[str, Any], **what: Any) -> None:
        """Ask others (`policy`), or until another time (`deadline_at`, `deadline_choice`). Raises AlreadyEnded."""
        row = Request.objects.select_for_update(no_key=True, of=("self",)).get(pk=self.pk)
        if ended_as := row.ended_as(database_clock()):  # after the lock
            raise AlreadyEnded(ended_as=ended_as)
        Request.objects.pending().filter(pk=self.pk).update(**what)
        audit.record(
            organization=self.organization, actor=by, action="approval.change", target=self.public_id, data=data
        )

    @classmethod
    def expire_due(cls, *, limit: int = 100) -> int:
        """Answer up to `limit` overdue requests with their deadline's choice, one transaction each. How many.

        Those locked wait for the next call; one that fails is told in the log, and holds up no other.
        """
        now = database_clock()
        overdue = cls.objects.pending().filter(deadline_at__lte=now).order_by("deadline_at", "pk")
        expired = 0
        for pk in overdue.values_list("pk", flat=True)[: limit * LOOK_BEYOND]:
            try:
                expired += cls._expire_one(pk, now)
            except Exception:  # whatever is wrong with this one is not the others'
                log.exception("request_not_expired", request=pk)
            if expired == limit:
                break
        return expired

    @classmethod
    @transaction.atomic
    def withdraw(cls, keys: Collection[int]) -> int:
        """The asker no longer wants to know. How many were pending; those answered stay as they are."""
        asked = cls.objects.pending().filter(pk__in=keys).order_by("pk")
        keys = list(asked.select_for_update(no_key=True).values_list("pk", flat=True))  # in one order: no deadlock
        return (
            cls.objects.pending().filter(pk__in=keys).update(status=Status.WITHDRAWN, acknowledged_at=ClockTimestamp())
        )

    def acknowledge(self) -> bool:
        """The asker has taken the answer up. False if it had before, or if there is none."""
        return bool(Request.objects.unacknowledged().filter(pk=self.pk).update(acknowledged_at=ClockTimestamp()))

    # --- privates

    def _rounds(self) -> RequestQuerySet:
        return Request.objects.filter(organization_id=self.organization_id, subject=self.subject)

    def _answer(self, by: Member, words: Words, at: datetime) -> None:
        if isinstance(words.digest, str) and words.digest and words.digest != self.digest:
            raise StaleDigest(expected=self.digest, payload=self.payload, difference=self._since(words.digest))
        errors = words.findings() or words.mismatches(self.choices)
        if errors:
            raise InvalidAnswer(errors)
        answer = self.answer_with(words.edits)
        self._end(Status.DECIDED, at, choice=words.choice, answer=answer, note=words.note, decided_by=by)
        self._keep(by, words, at, late=False)
        effects.announce_decision(self.pk, self.subject)

    def _round_of(self, digest: str) -> Request | None:
        """The round that had it; what is no digest, and may not even be storable, no round had."""
        return self._rounds().filter(digest=digest).first() if DIGEST.fullmatch(digest) else None

    def _since(self, seen: str) -> list[dict[str, Any]] | None:
        earlier = self._round_of(seen)
        return None if earlier is None else difference(earlier.payload, self.payload)

    def _keep(self, by: Member, words: Words, at: datetime, *, late: bool) -> None:
        self.decisions.create(
            member=by,
            choice=words.choice,
            note=words.note,
            edits=dict(words.edits),
            digest_seen=words.digest,
            door=words.door,
            at=at,
            late=late,
        )
        audit.record(
            organization=self.organization,
            actor=by,
            action="approval.late" if late else "approval.decide",
            target=self.public_id,
            data={"choice": words.choice, "digest": words.digest, "door": words.door, "edited": list(words.edits)},
        )

    @classmethod
    @transaction.atomic
    def _expire_one(cls, pk: int, now: datetime) -> bool:
        """`now` was read before the lock, which is safe here: what was overdue then is, unless its time was changed."""
        overdue = cls.objects.pending().filter(pk=pk, deadline_at__lte=now)
        row = overdue.select_for_update(no_key=True, skip_locked=True).first()
        if row is None:
            return False
        assert row.deadline_choice is not None  # noqa: S101  by the constraint deadline_has_its_choice
        row._end(Status.EXPIRED, now, choice=row.deadline_choice, answer=row.payload, note="", decided_by=None)
        effects.announce_decision(row.pk, row.subject)
        audit.record(
            organization=row.organization,
            actor=None,
            action="approval.expire",
            target=row.public_id,
            data={"choice": row.choice, "digest": row.digest},
        )
        return True

    def _end(
        self, status: Status, at: datetime, *, choice: str, answer: Any, note: str, decided_by: Member | None
    ) -> None:
        """The row is locked; the guard in the WHERE is the second lock on the same door."""
        fields: dict[str, Any] = {
            "status": status,
            "decided_at": at,
            "choice": choice,
            "answer": answer,
            "answer_digest": self._digest_with(answer),
            "note": note,
            "decided_by": decided_by,
        }
        if not Request.objects.pending().filter(pk=self.pk).update(**fields):
            raise AlreadyEnded(ended_as=self.status)
        for name, value in fields.items():
            setattr(self, name, value)

    def _digest_with(self, answer: Any) -> str:
        return digest_of(answer, self.choices, self.digest_parts["definition"], self.digest_parts["steps"])
