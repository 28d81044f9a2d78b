"""The keys of a step, one file each: what it must say, and what the engine gets of it."""

from collections.abc import Mapping
from typing import Any

from ..draft import Draft
from ..keys import StepKey
from ..schema import KINDS as NAMES
from ..schema import STEP_KEYS
from . import (
    agent,
    approval,
    condition,
    conversation,
    deliverable,
    expect,
    given,
    on_failure,
    retry,
    run,
    timeout,
    wait,
)

KINDS = {
    "agent": StepKey(agent.check, agent.plan),
    "approval": StepKey(approval.check, approval.plan),
    "run": StepKey(run.check, run.plan),
    "wait": StepKey(wait.check, wait.plan),
}
# In the order in which they are checked: what reads a step's output comes after its kind, which knows the schema of it.
KEYS = {
    "needs": StepKey(),
    "if": StepKey(condition.check, condition.plan, condition.reads),
    "with": StepKey(given.check, given.plan),
    "conversation": StepKey(conversation.check, conversation.plan),
    **KINDS,
    "retry": StepKey(retry.check, retry.plan),
    "timeout": StepKey(timeout.check, timeout.plan),
    "on_failure": StepKey(on_failure.check, on_failure.plan),
    "expect": StepKey(plan=expect.plan),
    "repeatable": StepKey(plan=lambda draft, name: {"repeatable": draft.steps[name]["repeatable"]}),
    "deliverable": StepKey(deliverable.check, deliverable.plan),
}


def check_step(draft: Draft, name: str) -> None:
    step = draft.steps[name]
    foreign = set(_foreign(step))
    for key in foreign:
        _find_foreign(draft, name, key)
    for key, known in KEYS.items():
        if key in step and key not in foreign:
            known.check(draft, name)


def kind_of(step: Mapping[str, Any]) -> str:
    return next(kind for kind in NAMES if kind in step)


def reads_of(step: Mapping[str, Any]) -> frozenset[str]:
    return frozenset().union(*(KEYS[key].reads(value) for key, value in step.items()))


def _foreign(step: Mapping[str, Any]) -> list[str]:
    """The keys that do not belong to a step of this kind."""
    kinds = [kind for kind in NAMES if kind in step]
    return [key for key in step if len(kinds) == 1 and kinds[0] not in STEP_KEYS.get(key, {}).get("x-kinds", kinds)]


def _find_foreign(draft: Draft, name: str, key: str) -> None:
    kind = kind_of(draft.steps[name])
    noun = STEP_KEYS[kind]["x-kind"]
    rule = "not-with-approval" if kind == "approval" else "step-kind"
    fix = STEP_KEYS[key].get("x-instead", {}).get(kind, f"Take {key} out.")
    draft.find_key(["steps", name, key], rule, f"{noun[0].upper()}{noun[1:]} has no {key}.", fix)
