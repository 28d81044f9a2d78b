from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from accounts.public_ids import new_public_id
from agents.calls import be_still, emit_nothing, say_nothing
from orchestration.engine import confirming
from orchestration.engine.charges import holds
from orchestration.engine.facts import RunFacts
from orchestration.engine.gates import differs_from_decided, reopen_gate
from orchestration.engine.kinds import INNER, ROWS
from orchestration.engine.names import member_name, organization_slug
from orchestration.engine.outcomes import UNDO, Claim, Outcome, failed
from orchestration.engine.plans import StepPlan
from orchestration.engine.undoing import noted
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
        emit: Callable[[str, Any], None] = emit_nothing,
        heartbeat: Callable[[], None] = be_still,
    ) -> None:
        self.claim = claim
        self.facts = facts
        self.plan = facts.plan
        self.canceled = canceled
        self.log = log
        self.may_begin = may_begin
        self.emit = emit
        self.heartbeat = heartbeat

    @cached_property
    def step(self) -> StepPlan:
        return self.plan.step_of(self.claim.position, self.claim.kind)

    def outcome(self) -> Outcome | None:
        """None if the step was taken back to wait for another decision: then there is nothing to record."""
        if holds(self.claim):
            return Outcome("ready", fields={"unlost": True})
        try:
            kind = ROWS[self.claim.kind]
            if self.claim.phase and kind.gather is not None:
                return kind.gather(self)
            if self.claim.kind in INNER or self.claim.head is not None:  # an item: its head was considered
                return kind.begin(self)
            if reason := self._reason_to_skip():
                return Outcome("skipped", fields={"note": {"reason": reason}})
            for gate in self.plan.gates_before(self.step):
                if differs_from_decided(self, self._read_of(gate)):
                    # Where no round can be opened any more (its run is canceling) the step just goes back.
                    reopened = reopen_gate(self, self._read_of(gate))
                    return None if reopened else Outcome("ready", fields={"unlost": True})
            return confirming.ask(self) if self.claim.is_to_be_confirmed else kind.begin(self)
        except (ExpressionError, TypingError) as exc:
            return failed("expression", str(exc))

    def _is_to_handle(self) -> bool:
        """Whether a step failed whose `on_failure` names this one, for such an error."""
        failed_ones = [read for read in self.claim.reads if read["s"] == Step.Status.FAILED]
        return any(self._is_meant_by(self.plan.steps[read["p"]], read["k"]) for read in failed_ones)

    def _is_meant_by(self, other: StepPlan, key: int) -> bool:
        if other.name not in self.step.handles or not other.on_failure_by:
            return other.name in self.step.handles
        error = self.facts.error_of(key)
        # Of one whose failure is but said, in a trial of this step, nobody knows the class.
        return error is None or other.on_failure_by.get(error, other.on_failure_by["else"]) == self.step.name

    def _reason_to_skip(self) -> str | None:
        step = self.step
        if step.handles and not self._is_to_handle():
            return "no step failed that it is there for"
        for choice in step.chosen_by:
            name = self.plan.steps[choice].name
            output = self.context["steps"][name]["output"]
            if output is None or output["chosen"] != step.name:
                return f"{name} did not choose it"
        if step.condition is not None and not step.condition.evaluate(self.context):
            return "its `if` is false"
        return None

    def _read_of(self, position: int) -> Mapping[str, Any]:
        return next(read for read in self.claim.reads if read["p"] == position)

    def is_enough(self, output: Any, *, index: int) -> bool:
        """Whether what a step repeats `until` is true of the output of this pass."""
        until = self.step.until
        known = {**self.context, "output": self.step.one_typing.apply(output), "index": index}
        return until is None or until.evaluate(known)

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
            "index": claim.index if claim.pass_number is None else claim.pass_number,
            "feedback": claim.feedback,
            **({self.step.map["as"]: self.step.item_typing.apply(claim.item)} if claim.has_item else {}),
        }

    def _read(self, read: Mapping[str, Any]) -> dict[str, Any]:
        output, step = None, self.plan.steps[read["p"]]
        if read["s"] == Step.Status.COMPLETED:
            if read["x"] is not None:
                output = self.facts.large_output(read["p"], read["x"])
            else:
                output = step.typing.apply(read["o"])
        found = {"output": output, "status": read["s"], "decision": read["d"]}
        return found | ({"event": self.facts.event_of(read["k"])} if step.kind == "wait" else {})

    # --- how it ends

    def finish(self, outcome: Outcome) -> Outcome:
        """A completion with all that follows from it, whoever brought it about: what would undo it, and the step's
        deliverable."""
        if self.claim.kind == UNDO:
            return outcome
        outcome = noted(self, outcome)
        if self.step.deliverable is None or self.claim.head is not None:
            return outcome
        try:
            typed = self.step.typing.apply(outcome.output)
            texts = self.step.deliverable.evaluate({**self.context, "output": typed})
        except (ExpressionError, TypingError) as exc:
            return failed("expression", str(exc), given=outcome.input, **outcome.fields)
        made = {"id": new_public_id("dlv"), **{name: as_text(text) for name, text in texts.items()}}
        return replace(outcome, fields={**outcome.fields, "deliverable": made})
