from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from accounts.models import Member, Organization
from accounts.public_ids import new_public_id
from agents.calls import say_nothing
from orchestration.engine.connection import returned_connection
from orchestration.engine.facts import RunFacts
from orchestration.engine.gates import differs_from_decided, reopen_gate
from orchestration.engine.kinds import INNER, KINDS
from orchestration.engine.outcomes import Claim, Outcome, failed
from orchestration.engine.plans import StepPlan
from orchestration.language.expressions import ExpressionError, TypingError, as_text
from orchestration.models import Step


class Execution:
    """One try of one claimed step, from its row to what became of it. What its kind does is in `kinds`."""

    def __init__(
        self,
        claim: Claim,
        facts: RunFacts,
        canceled: Callable[[], bool],
        log: Callable[..., None] = say_nothing,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self.claim = claim
        self.facts = facts
        self.plan = facts.plan
        self.canceled = canceled
        self.log = log
        self.may_begin = may_begin

    @cached_property
    def step(self) -> StepPlan:
        return self.plan.steps[self.claim.position]

    def outcome(self) -> Outcome | None:
        """None if the step was taken back to wait for another decision: then there is nothing to record."""
        try:
            if self.claim.kind in INNER:
                return INNER[self.claim.kind].begin(self)
            if self.step.handles and not self._is_to_handle():
                return Outcome("skipped", fields={"note": {"reason": "no step failed that it is there for"}})
            if self.step.condition is not None and not self.step.condition.evaluate(self.context):
                return Outcome("skipped", fields={"note": {"reason": "its `if` is false"}})
            for gate in self.plan.gates_before(self.step):
                read = next(read for read in self.claim.reads if read["p"] == gate)
                if differs_from_decided(self, read):
                    # Where no round can be opened any more (its run is canceling) the step just goes back.
                    return None if reopen_gate(self, read) else Outcome("ready", fields={"unlost": True})
            return KINDS[self.claim.kind].begin(self)
        except (ExpressionError, TypingError) as exc:
            return failed("expression", str(exc))

    def _is_to_handle(self) -> bool:
        """Whether a step failed whose `on_failure` names this one."""
        failed_ones = [read["p"] for read in self.claim.reads if read["s"] == Step.Status.FAILED]
        return any(self.plan.steps[position].name in self.step.handles for position in failed_ones)

    # --- what it reads

    @cached_property
    def context(self) -> dict[str, Any]:
        claim = self.claim
        return {
            "input": self.facts.input,
            "steps": {self.plan.steps[read["p"]].name: self._read(read) for read in claim.reads},
            "run": {
                "id": claim.public_id,
                "started_by": member_name(claim.started_by),
                "organization": organization_slug(claim.organization),
                "url": self.facts.url,
            },
            "round": claim.round,
            "attempt": claim.attempt,
            "index": claim.index,
            "feedback": claim.feedback,
        }

    def _read(self, read: Mapping[str, Any]) -> dict[str, Any]:
        output = None
        if read["s"] == Step.Status.COMPLETED:
            if read["x"] is not None:
                output = self.facts.large_output(read["p"], read["x"])
            else:
                output = self.plan.steps[read["p"]].typing.apply(read["o"])
        return {"output": output, "status": read["s"], "decision": read["d"]}

    # --- how it ends

    def finish(self, outcome: Outcome) -> Outcome:
        """A completion with all that follows from it, whoever brought it about: the step's deliverable."""
        if self.step.deliverable is None:
            return outcome
        try:
            typed = self.step.typing.apply(outcome.output)
            texts = self.step.deliverable.evaluate({**self.context, "output": typed})
        except (ExpressionError, TypingError) as exc:
            return failed("expression", str(exc), given=outcome.input, **outcome.fields)
        made = {"id": new_public_id("dlv"), **{name: as_text(text) for name, text in texts.items()}}
        return replace(outcome, fields={**outcome.fields, "deliverable": made})


@lru_cache(maxsize=4096)
def member_name(member: int | None) -> str | None:
    if member is None:
        return None
    with returned_connection():
        return str(Member.objects.values_list("user__username", flat=True).get(pk=member))


@lru_cache(maxsize=1024)
def organization_slug(organization: int) -> str:
    with returned_connection():
        return str(Organization.objects.values_list("slug", flat=True).get(pk=organization))
