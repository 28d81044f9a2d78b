"""Changes until when, and whom, an open question asks."""

import json
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.clock import database_clock
from accounts.models import Member
from approvals.exceptions import AlreadyEnded
from approvals.models import Policy, Request
from orchestration.engine.connection import rows
from orchestration.engine.hints import hint_after_commit
from orchestration.engine.levers.acting import note_of
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import Run, Step

LOCK = "select id from orchestration_run where id = %s and ended_at is null for no key update"
TELL = "select from engine_settle_v3(null, '[]', '{}', %s::jsonb, null)"
NOBODY = "Step {} asks nobody: it has no open question."


def nobody_asked(step: Step) -> str | None:
    return None if step.waits_for == "approval" else NOBODY.format(step.name)


def set_due(
    run: Run, step: Step, *, by: Member | None, reason: str, deadline_at: datetime | None, then: str | None = None
) -> None:
    """`then` is the answer if nobody gives one by then; as before, if left out. Raises Refused and InvalidInput."""
    question = _question(step)
    then = (then or question.deadline_choice) if deadline_at else None
    if deadline_at and deadline_at <= database_clock():
        raise InvalidInput([{"pointer": "/deadline_at", "message": "This time has passed."}])
    if deadline_at and then not in question.choices:
        raise InvalidInput([{"pointer": "/then", "message": f"Name one of {', '.join(question.choices)}."}])
    before = {"deadline_at": _text(question.deadline_at), "then": question.deadline_choice}
    after = {"deadline_at": _text(deadline_at), "then": then}
    _change(run, step, question, before, after, by, reason, deadline_at=deadline_at, deadline_choice=then)


def set_reviewers(run: Run, step: Step, *, by: Member | None, reason: str, policy: str) -> None:
    """Those that another policy names. Raises Refused and InvalidInput."""
    question = _question(step)
    found = Policy.objects.filter(organization_id=run.organization_id, slug=policy).first()
    if found is None:
        raise InvalidInput([{"pointer": "/policy", "message": f"No policy is called {policy!r} here."}])
    _change(run, step, question, {"policy": question.policy.slug}, {"policy": found.slug}, by, reason, policy=found)


def question_of(step: Step) -> Request | None:
    return Request.objects.pending().filter(subject=step.subject).select_related("policy").first()


def _question(step: Step) -> Request:
    question = question_of(step) if step.waits_for == "approval" else None
    if question is None:
        raise Refused(NOBODY.format(step.name))
    return question


def _change(
    run: Run,
    step: Step,
    question: Request,
    before: dict[str, Any],
    after: dict[str, Any],
    by: Member | None,
    reason: str,
    **what: Any,
) -> None:
    """The run first, then the question: the order of locks."""
    note = note_of(by, reason) | {"from": before, "to": after}
    data = {"step": step.name, "round": step.round, "request": question.public_id, **note}
    with transaction.atomic():
        if not rows(LOCK, [run.pk]):
            raise Refused("The run has ended.")
        try:
            question.change(by=by, data=note, **what)
        except AlreadyEnded as exc:
            raise Refused(f"The question of step {step.name} is {exc.ended_as} by now.") from exc
        told = {"run": run.pk, "key": step.key, "type": "checkpoint.changed", "data": data}
        rows(TELL, [json.dumps([told])])
        hint_after_commit({}, [run.pk])


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
