"""A checkpoint: the step waits for people's answer to its question."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from accounts.clock import database_clock
from accounts.models import Member, Organization
from approvals.models import Policy, Request
from orchestration.engine.connection import returned_connection
from orchestration.engine.gates import digests_behind, shown_to
from orchestration.engine.outcomes import Outcome

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def begin(execution: "Execution") -> Outcome:
    """The request is made in the transaction that lets the step wait."""
    claim, step = execution.claim, execution.step
    approval = step.approval or {}
    payload = step.show.evaluate(execution.context) if step.show else None
    if step.derived:
        payload = step.derived.applied(payload)
    title = str(step.title.evaluate(execution.context)) if step.title else step.name
    deadline = approval["deadline"]
    with returned_connection():
        policy = Policy.objects.get(organization_id=claim.organization, slug=approval["policy"])
        behind = digests_behind(execution, claim.position)

    def prepare() -> dict[str, Any]:
        request = Request.ask(
            organization=Organization(pk=claim.organization),
            subject=claim.subject,
            title=title,
            payload=payload,
            choices=list(approval["choices"]),
            editable=list(approval["editable"]),
            payload_schema=approval["payload_schema"],
            policy=policy,
            requested_by=Member(pk=claim.started_by) if claim.started_by else None,
            definition_digest=execution.plan.digest,
            steps=behind,
            deadline_at=database_clock() + timedelta(seconds=deadline["after"]) if deadline else None,
            deadline_choice=deadline["then"] if deadline else None,
            context={
                "run": claim.public_id,
                "definition": execution.plan.slug,
                "step": claim.name,
                "round": claim.round,
                "url": execution.facts.url,
                "run_id": claim.run,
                "key": claim.key,
                "fence": claim.fence,
                **shown_to(execution.plan.visible_to),
            },
        )
        return {"note": {"request": request.public_id, "title": title}}

    return Outcome(
        "waiting", input={"title": title, "show": payload}, fields={"waits_for": "approval"}, prepare=prepare
    )
