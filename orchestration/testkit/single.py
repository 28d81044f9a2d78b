"""One step by itself: its `if`, `with`, agent, schemas, retry and deliverable, and nothing before or after it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.db import transaction

from orchestration.engine import starts
from orchestration.engine.connection import rows
from orchestration.engine.execution import Execution
from orchestration.engine.facts import facts_of
from orchestration.engine.outcomes import Claim, Outcome
from orchestration.engine.settling import CLAIM
from orchestration.models import Step
from orchestration.testkit.exceptions import NotPlayable

if TYPE_CHECKING:
    from orchestration.testkit.play import Play


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one try. `status` is what the step becomes; `input` is what its agent was given, of an approval
    {title, show}; `again_after`: seconds until the next try."""

    status: str
    input: Any = None
    output: Any = None
    error: Mapping[str, Any] | None = None
    waits_for: str | None = None
    again_after: float | None = None
    deliverable: Mapping[str, str] | None = None

    @classmethod
    def of(cls, outcome: Outcome) -> "Tried":
        fields = outcome.fields
        made = fields.get("deliverable")
        return cls(
            status=outcome.becomes,
            input=outcome.input,
            output=outcome.output,
            error=fields.get("error"),
            waits_for=fields.get("waits_for"),
            again_after=fields.get("wake") if fields.get("waits_for") == "retry" else None,
            deliverable=made and {name: text for name, text in made.items() if name != "id"},
        )


def run(
    play: "Play",
    name: str,
    given: Any = None,
    *,
    outputs: Mapping[str, Any] | None = None,
    statuses: Mapping[str, str] | None = None,
    decisions: Mapping[str, Mapping[str, Any]] | None = None,
    feedback: Mapping[str, Any] | None = None,
    attempt: int = 1,
) -> Tried:
    """Try the step `name` once, in a run with the input `given`. `outputs`: of the steps that it reads and that
    completed; `statuses`: of those that did not; `decisions`: of approvals; `feedback`: of a reviewer who sent it back.
    """
    outputs, statuses, decisions = outputs or {}, statuses or {}, decisions or {}
    version = play.versions[0]
    with transaction.atomic():
        pk = starts.start_version(
            version.pk, play.organization.pk, {} if given is None else given, by=play.people["operator"].pk
        )
        steps = {step.key: step for step in Step.objects.filter(run=pk)}
        step = next((step for step in steps.values() if step.name == name), None)
        if step is None:
            raise NotPlayable(f"{version.definition.slug} has no step {name}.")
        read = [steps[key] for key in step.reads]
        if unknown := [each.name for each in read if each.name not in {*outputs, *statuses}]:
            raise NotPlayable(f"{name} reads {', '.join(unknown)}: say outputs={{{unknown[0]!r}: …}}, or statuses.")
        reads = [
            {
                "k": each.key,
                "p": each.position,
                "s": statuses.get(each.name, "completed"),
                "o": outputs.get(each.name),
                "x": None,
                "d": decisions.get(each.name),
            }
            for each in read
        ]
        claim = replace(
            Claim.of(rows(CLAIM, [pk, step.key, step.fence])[0]),
            reads_text=json.dumps(reads),
            feedback_text=None if feedback is None else json.dumps(feedback),
            attempt=attempt,
            more_text=None,  # alone, it has all that limits allow
        )
        outcome = Execution(claim, facts_of(claim), bool).outcome()
        transaction.set_rollback(True)
    if outcome is None:
        raise NotPlayable(f"What lets {name} start was decided on something else.")
    return Tried.of(outcome)
