"""`compensate`: what takes the step's work back, if its run fails or is canceled."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in
from ..nodes import Where
from ..references import check_template
from . import agent, retry


def check(draft: Draft, name: str) -> None:
    """After the step's kind, whose output `with` reads: that of one item, where there is a map."""
    said = draft.steps[name]["compensate"]
    if not isinstance(said, dict):
        return
    at: Where = ["steps", name, "compensate"]
    check_template(draft, [*at, "with"], said.get("with"), name, draft.roots_of(name, "called"))
    retry.check_at(draft, [*at, "retry"], said.get("retry"), retry.CALLED, "An undo")
    facts = agent.facts_of(draft, [*at, "agent"], said.get("agent"))
    if facts is None:
        return
    if facts.kind == "orchestrator":
        message = f"{said['agent']} starts runs, and what undoes must be one call."
        draft.find([*at, "agent"], "compensate", message, "Name an agent that does it itself.")
    else:
        agent.check_call(draft, name, at, said, facts)


def plan(draft: Draft, name: str) -> dict[str, Any]:
    said = draft.steps[name]["compensate"]
    return {
        "compensate": {
            "agent": said["agent"],
            "with": said.get("with"),
            "retry": retry.plan_of(said["retry"]) if "retry" in said else retry.ONCE,
            "timeout": seconds_in(said, "timeout"),
        }
    }
