"""Messages to a run: judged by what the run is at that moment, and kept only if all that was read is so still."""

from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import Member
from accounts.public_ids import new_public_id
from orchestration.engine import failpoints
from orchestration.engine.connection import rows
from orchestration.engine.execution import member_name, organization_slug
from orchestration.engine.hints import hints
from orchestration.engine.mail import heard_by, kept
from orchestration.engine.outcomes import dump, load_payload
from orchestration.engine.plans import Message, Plan, plan_of
from orchestration.exceptions import InvalidInput, Refused
from orchestration.language.expressions import ExpressionError, TypingError
from orchestration.models import OutsideEvent, Run, Step

KEEP = "select * from engine_message_v1(%s, %s::jsonb, %s, %s, %s::jsonb, %s, %s::jsonb, %s, %s, %s::jsonb)"
TRIES = 5  # of a run that moves on while its message is judged


def send(run: Run, *, name: str, data: Any, sender_id: str | None, by: Member | None) -> tuple[OutsideEvent, bool]:
    """The message, and whether it is new: under the same `sender_id` it counts once, and has the reply it had.

    Raises InvalidInput, if the run takes no such message or its data does not fit; Refused; NotRecordable.
    """
    plan = plan_of(run.definition_version_id)
    if sender_id and (known := OutsideEvent.objects.filter(run=run, sender_id=sender_id).first()):
        return known, False
    if name not in plan.messages:
        known_here = f"Known: {', '.join(plan.messages)}." if plan.messages else "It takes none."
        raise InvalidInput([{"pointer": "/name", "message": f"The run takes no message {name[:100]}. {known_here}"}])
    if errors := plan.messages[name].check.errors(data, "/data"):
        raise InvalidInput(errors)
    for _ in range(TRIES):
        verdict, public_id = _keep(run, plan, name, data, sender_id, by)
        if verdict == "ended":
            raise Refused("The run has ended, or is about to, and takes no more messages.")
        if public_id is not None:
            failpoints.reach("delivered")
            hints.changed([run.pk])
            hints.answer()
            return OutsideEvent.objects.get(public_id=public_id), verdict == "kept"
    raise Refused("The run moves too fast for this message to be judged; send it again.")


def _keep(
    run: Run, plan: Plan, name: str, data: Any, sender_id: str | None, by: Member | None
) -> tuple[str, str | None]:
    message = plan.messages[name]
    steps = list(
        Step.objects.filter(run_id=run.pk, name__in=message.reads, head=None, undoes=None)
        .order_by("name", "-key")
        .distinct("name")
    )
    reply = _judged(run, plan, name, message, data, steps)
    public_id = new_public_id("msg")
    seen = [[step.name, step.key, step.status] for step in steps]
    told = {"message": name, "id": public_id, "by": by.name if by else None}
    text = dump(data)
    with transaction.atomic():
        content = kept(data, text)
        given = [run.pk, dump(seen), public_id, name, *content, dump(reply), sender_id, by and by.pk, dump(told)]
        ((verdict, of_it),) = rows(KEEP, given)
        failpoints.reach("keeping")
        if verdict == "kept":
            audit.record(organization=run.organization, actor=by, action="run.message", target=run.public_id, data=told)
    return verdict, of_it


def _judged(run: Run, plan: Plan, name: str, message: Message, data: Any, steps: list[Step]) -> Any:
    """The reply. Raises Refused."""
    try:
        context = {
            "message": message.typing.apply(data),
            "input": plan.typing.apply(Run.objects.values_list("input", flat=True).get(pk=run.pk)),
            "steps": {step.name: _read(step, plan) for step in steps},
            "run": {
                "id": run.public_id,
                "started_by": member_name(run.started_by_id),
                "organization": organization_slug(run.organization_id),
                "url": f"{settings.BASE_URL}/runs/{run.public_id}/",
            },
        }
        if message.condition is not None and not message.condition.evaluate(context):
            raise Refused(f"The run does not take this message now: the `if` of {name} is false.")
        return message.reply.evaluate(context) if message.reply else None
    except (ExpressionError, TypingError) as exc:
        raise Refused(f"The message {name} cannot be judged: {exc}") from exc


def _read(step: Step, plan: Plan) -> dict[str, Any]:
    output = None
    if step.status == Step.Status.COMPLETED:
        found = step.output if step.output_digest is None else load_payload(bytes(step.output_digest))
        output = plan.steps[step.position].typing.apply(found)
    found = {"output": output, "status": step.status, "decision": step.decision}
    return found | ({"event": heard_by(step.run_id, step.key)} if step.kind == "wait" else {})
