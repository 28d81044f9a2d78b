"""Lets a run that is not at work go on by another version of its definition, if what it has done fits that."""

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import Member
from agents.models import Agent, AgentVersion
from approvals.models import Request
from orchestration.engine.answers import withdraw_unasked
from orchestration.engine.connection import value
from orchestration.engine.hints import hint_after_commit
from orchestration.engine.levers.acting import STATES, note_of
from orchestration.engine.plans import plan_of
from orchestration.exceptions import InvalidInput, Misfit, Refused
from orchestration.models import DefinitionVersion, Run, Step

MOVE = "select engine_move_v1(%s, %s, %s, %s::jsonb)"
NUMBERS = (
    "key",
    "reads",
    "item_reads",
    "needs",
    "output_schema",
    "approval",
)  # of a step's plan; the rest is what it does


@dataclass(frozen=True)
class Finding:
    """Why what the run has done does not fit; of the run as a whole, without a step."""

    step: str
    message: str


def findings(run: Run, version: DefinitionVersion, *, sees_payload: bool = True) -> list[Finding]:
    """All at once; none if the run can be moved there. What is wrong with the input is told to who sees it."""
    wrong = plan_of(version.pk).input_errors(run.input)
    found = [Finding("", f"{error['pointer']}: {error['message']}") for error in wrong]
    if wrong and not sees_payload:
        found = [Finding("", "Its input does not fit what that version asks for.")]
    there = set(
        Agent.objects.filter(organization_id=run.organization_id, current_version__isnull=False).values_list(
            "slug", flat=True
        )
    )
    before, after = _steps(run.definition_version), _steps(version)
    agents = sorted({row["agent"] for row in version.layout if row["agent"]} - there)
    found += [Finding("", f"The agent {slug} is not here any more.") for slug in agents]
    rows = _begun(run)
    pinned = AgentVersion.objects.filter(pk__in={row.agent_version_id for row in rows.values()} - {None})
    slugs = dict(pinned.values_list("pk", "agent__slug"))
    for name, row in rows.items():
        message = _misfit(row, before.get(name, {}), after.get(name), rows, slugs.get(row.agent_version_id or 0))
        found += [Finding(name, message)] if message else []
    return found


def _steps(version: DefinitionVersion) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in version.plan["steps"]}


def _begun(run: Run) -> dict[str, Step]:
    """The newest rows of steps that have started, or ended."""
    rows = run.steps.nodes().order_by("position", "-key").distinct("position")
    return {step.name: step for step in rows if not _is_to_come(step)}


def _is_to_come(step: Step) -> bool:
    return step.status == Step.Status.BLOCKED or (step.status == Step.Status.READY and step.started_at is None)


def _misfit(row: Step, before: Any, after: Any, rows: dict[str, Step], agent: str | None) -> str | None:
    if after is None:
        return f"It is {row.status}, and that version has no such step."
    kind = next((around for around in ("map", "repeat") if around in after), after["kind"])
    if kind != row.kind or after["agent"] != agent:
        return "It is done by another agent there." if kind == row.kind else f"It is of the kind {kind} there."
    open_needs = [name for name in after["needs"] if name not in rows or not rows[name].ended_at]
    if open_needs:
        return f"It needs {', '.join(open_needs)} there, which has not ended."
    held = row.status == Step.Status.WAITING and row.waits_for not in ("approval", "retry")
    if held and _does(before) != _does(after):
        return f"It waits for {row.waits_for}, and says something else there."
    return None


def _does(step: dict[str, Any]) -> dict[str, Any]:
    """Of its questions, what they say is of the version that they are put anew by."""
    return {name: part for name, part in step.items() if name not in NUMBERS}


def nothing_newer(run: Run) -> str | None:
    version = run.definition_version
    if version.pk != version.definition.current_version_id:  # the newest
        return None
    return f"The run goes by version {version.number}; it can be moved to a newer one, and there is none."


def version_of(run: Run, number: int | None) -> DefinitionVersion:
    """That of the number, or the newest. Raises InvalidInput, Refused."""
    definition = run.definition_version.definition
    found = definition.current_version if number is None else definition.versions.filter(number=number).first()
    if found is None:
        raise InvalidInput([{"pointer": "/version", "message": f"{definition} has no version {number}."}])
    if found.number <= run.definition_version.number:
        raise Refused(f"The run goes by version {run.definition_version.number}; it can be moved to a newer one.")
    return found


def move(run: Run, *, by: Member | None, reason: str, version: int | None = None) -> None:
    """To the newest version, or that of the number. Raises PayloadHidden, Refused, Misfit, InvalidInput."""
    run = Run.objects.for_list().get(pk=run.pk)
    if by is not None:
        run.require_payload(by)  # another version might show it to others, or ask them about it
    chosen = version_of(run, version)
    if run.status not in (Run.Status.WAITING, Run.Status.PAUSED):
        raise Refused(f"The run is {run.status}; only one that is waiting or paused can be moved.")
    if found := findings(run, chosen):
        raise Misfit(found)
    note = {**note_of(by, reason), "from": run.definition_version.number, "to": chosen.number}
    with transaction.atomic():
        state = value(MOVE, [run.pk, chosen.pk, run.seq, json.dumps(note)])
        if state is not None:
            raise Refused(
                f"The run {STATES.get(state, f'is {state}')}; only one that is waiting or paused can be moved."
            )
        withdraw_unasked(run.pk)  # under the run's lock, so before they are put anew
        if Request.objects.unacknowledged().of_run(run.public_id).exists():
            raise Refused("An answer has just come; look at the run again.")
        audit.record(organization=run.organization, actor=by, action="run.move", target=run.public_id, data=note)
        hint_after_commit(dict.fromkeys(settings.WORKER_QUEUES, 1), [run.pk])
