"""Before a forked run repeats an effect that the run before it has begun, a person is asked."""

from typing import TYPE_CHECKING, Any

from accounts.models import Member, Organization
from approvals.models import Policy, Request
from orchestration.engine.connection import returned_connection
from orchestration.engine.gates import shown_to
from orchestration.engine.outcomes import Outcome, failed
from orchestration.engine.plans import agent_of
from orchestration.models import Run

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution

POLICY = "default"


def ask(execution: "Execution") -> Outcome:
    """The step waits for the word of a person; `answers` takes it up."""
    claim, step = execution.claim, execution.step
    asks = None if step.map or step.repeat else step.given or step.wait.child_input
    given = asks.evaluate(execution.context) if asks else None
    with returned_connection():
        policy = Policy.objects.filter(organization_id=claim.organization, slug=POLICY).first()
        if policy is None:
            return failed("permanent", f"Nobody can be asked whether to repeat it: there is no policy {POLICY}.")
        agent = agent_of(claim.agent_version) if claim.agent_version else None
        origin = Run.objects.values_list("forked_run_id", flat=True).get(pk=claim.run)
        source = Run.objects.filter(pk=origin or 0).values_list("public_id", flat=True).first()

    def prepare() -> dict[str, Any]:
        request = Request.ask(
            organization=Organization(pk=claim.organization),
            subject=claim.subject,
            title=f"Do {step.name} again? It may not simply be repeated",
            payload={"begun by": source, "step": step.name, "with": given},
            choices=["continue", "abort"],
            editable=[],
            payload_schema=None,
            policy=policy,
            requested_by=Member(pk=claim.started_by) if claim.started_by else None,
            definition_digest=execution.plan.digest,
            steps=[[step.name, agent.digest if agent else ""]],
            deadline_at=None,
            deadline_choice=None,
            context={
                "kind": "confirm",
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
        return {"note": {"request": request.public_id, "title": request.title}}

    return Outcome("waiting", input=given, fields={"waits_for": "approval"}, prepare=prepare)
