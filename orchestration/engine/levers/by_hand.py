"""Ends a step that nobody runs, by the word of a person."""

from typing import Any

from django.db import transaction

from accounts import audit
from accounts.models import Member
from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.engine.levers.acting import note_of
from orchestration.engine.levers.retrying import again
from orchestration.engine.outcomes import Item, NotRecordable, Outcome, encode
from orchestration.engine.settling import finished, output_errors, settle
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import Run, Step

IDLE = frozenset({Step.Status.BLOCKED, Step.Status.READY, Step.Status.WAITING, Step.Status.UNCERTAIN})
# The run is locked here first, as everywhere. What a waiting step asked or started is left to `tidy_up`.
LEAVE = "update orchestration_run set tidy = tidy or %s where id = %s and ended_at is null returning id"


IN_LINE = "The run waits for its turn to begin: what is behind step {} would begin without it."


def in_line(step: Step) -> str | None:
    """Why none of its steps can be ended yet; None if it has begun."""
    if step.run.status not in (Run.Status.WAITING, Run.Status.PAUSED) or step.run.level < 2:
        return None
    starts = Step.objects.filter(run_id=step.run_id, key=0, kind="start").exclude(status__in=Step.ENDED)
    return IN_LINE.format(step.name) if starts.exists() else None


def skip(run: Run, step: Step, *, by: Member | None, reason: str) -> None:
    """Raises Refused."""
    _end(run, step, Outcome("skipped", fields={"note": note_of(by, reason)}), by, reason, action="step.skip")


def set_output(run: Run, step: Step, *, by: Member | None, reason: str, output: Any) -> None:
    """Complete it with an output that its agent might have given. A failed one is tried again, and completed at once.

    Raises Refused, and InvalidInput for an output that does not fit.
    """
    errors = output_errors(step, output)
    if errors:
        raise InvalidInput(errors)
    place = (step.run_id, step.key, step.fence)
    outcome = finished(place, Outcome("completed", output=output, fields={"note": note_of(by, reason)}))
    if outcome.becomes != "completed":
        raise InvalidInput([{"pointer": "/output", "message": outcome.fields["error"]["message"]}])
    if step.status == Step.Status.FAILED and step.head is None:
        given = {step.position: _encoded((0, 0, 0), outcome)}  # its place is that of the new row
        again(run, [step], by=by, reason=reason, action="step.output", data={"step": step.name}, given=given)
    else:
        _end(run, step, outcome, by, reason, action="step.output")


def _encoded(place: tuple[int, int, int], outcome: Outcome) -> Item:
    try:
        return encode(place, "waiting", outcome)
    except NotRecordable as exc:
        raise InvalidInput([{"pointer": "/output", "message": str(exc)}]) from exc


def _end(run: Run, step: Step, outcome: Outcome, by: Member | None, reason: str, *, action: str) -> None:
    if step.status not in IDLE:
        raise Refused(f"Step {step.name} is {step.status}; only one that nobody is at work on can be ended by hand.")
    place = (step.run_id, step.key, step.fence)
    _encoded(place, outcome)
    with transaction.atomic():
        asks = step.status == Step.Status.WAITING and step.waits_for in ("approval", "child")
        if not rows(LEAVE, [asks, run.pk]):
            raise Refused(f"Step {step.name} has moved on.")
        if why := in_line(step):  # its start takes the run's lock, too
            raise Refused(why)
        if not settle(place, step.status, outcome):
            raise Refused(f"Step {step.name} has moved on.")
        data = {"step": step.name, "round": step.round, "index": step.index, **note_of(by, reason)}
        audit.record(organization=run.organization, actor=by, action=action, target=run.public_id, data=data)
    if asks:
        answers.tidy_up()
