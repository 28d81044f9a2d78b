"""What would take a step's work back, as it is kept with the step's row when a try of it has ended."""

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestration.engine.connection import returned_connection
from orchestration.engine.outcomes import INLINE_BYTES, NotRecordable, Outcome, dump, store_payloads
from orchestration.engine.plans import StepPlan, agent_of
from orchestration.language.expressions import ExpressionError, TypingError

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution

HEADS = ("map", "repeat")  # what they did, their items did


def unknown(step: StepPlan, why: str) -> dict[str, Any]:
    """Fields of an outcome after which nobody knows whether the step did anything: a person is asked then."""
    return {"more": {"undo": _kept(step.undo, why)}} if step.undo else {}


def noted(execution: "Execution", outcome: Outcome) -> Outcome:
    """A completion with what would take it back: the agent, and its input, made of the real output."""
    claim, step = execution.claim, execution.step
    if claim.kind in HEADS:
        return outcome
    if step.undo is None:
        return outcome if _is_repeatable(execution) else _told(outcome, reversible=False)
    more: dict[str, Any] = {}
    try:
        output = step.one_typing.apply(outcome.output)
        given = step.undo.given.evaluate({**execution.context, "output": output}) if step.undo.given else {}
        text = dump(given)
    except (ExpressionError, TypingError, NotRecordable) as exc:
        more["undo"] = _kept(step.undo, str(exc))
    else:
        more["undo"] = {"reversible": True, "agent": step.undo.agent}
        if len(text) <= INLINE_BYTES:
            more["undo"]["input"] = given
        else:
            digest = hashlib.sha256(text.encode()).digest()
            with returned_connection():
                store_payloads([(digest, text)])
            more["undo_digest"] = digest.hex()
    return _told(outcome, reversible=more["undo"]["reversible"], more={**outcome.fields.get("more", {}), **more})


def _told(outcome: Outcome, *, reversible: bool, **fields: Any) -> Outcome:
    """With a word of it in the event of this try."""
    note = {**outcome.fields.get("note", {}), "reversible": reversible}
    return replace(outcome, fields={**outcome.fields, **fields, "note": note})


def _kept(undo: StepPlan, why: str) -> dict[str, Any]:
    return {"reversible": False, "agent": undo.agent, "why": why}


def _is_repeatable(execution: "Execution") -> bool:
    """Nothing is said of what may be done twice: that it was done matters to nobody."""
    said = execution.step.repeatable
    if said is None and execution.claim.kind == "agent" and execution.claim.agent_version is not None:
        return agent_of(execution.claim.agent_version).repeatable
    return said is not False
