"""The keys of a step, one file each: what it must say, and what the engine gets of it."""

from ..draft import Draft
from . import agent, approval, condition, deliverable

KINDS = {"approval": approval.check, "agent": agent.check}


def check_step(draft: Draft, name: str) -> None:
    condition.check(draft, name)
    for kind, check in KINDS.items():
        if kind in draft.steps[name]:
            check(draft, name)
    deliverable.check(draft, name)
