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
    cache,
    choose,
    compensate,
    concurrency,
    condition,
    conversation,
    deliverable,
    expect,
    given,
    needs,
    on_failure,
    rate,
    repeat,
    retry,
    run,
    timeout,
    wait,
)
from . import (
    map as map_key,
)

KINDS = {
    "agent": StepKey(agent.check, agent.plan),
    "approval": StepKey(approval.check, approval.plan),
    "run": StepKey(run.check, run.plan),
    "choose": StepKey(choose.check, choose.plan, choose.reads),
    "wait": StepKey(wait.check, wait.plan),
}
# In the order in which they are checked: what reads a step's output comes after its kind, which knows the schema of it.
KEYS = {
    "needs": StepKey(needs.check, needs.plan),
    "if": StepKey(condition.check, condition.plan, condition.reads),
    "map": StepKey(map_key.check, map_key.plan),
    "with": StepKey(given.check, given.plan),
    "conversation": StepKey(conversation.check, conversation.plan),
    **KINDS,
    "retry": StepKey(retry.check, retry.plan),
    "timeout": StepKey(timeout.check, timeout.plan),
    "compensate": StepKey(compensate.check, compensate.plan),
    "cache": StepKey(cache.check, cache.plan),
    "on_failure": StepKey(on_failure.check, on_failure.plan),
    "expect": StepKey(plan=expect.plan),
    "concurrency": StepKey(concurrency.check, concurrency.plan),
    "rate": StepKey(rate.check, rate.plan),
    "repeatable": StepKey(plan=lambda draft, name: {"repeatable": draft.steps[name]["repeatable"]}),
    "repeat": StepKey(repeat.check, repeat.plan, repeat.reads),
    "deliverable": StepKey(deliverable.check, deliverable.plan),
}

OF_THE_WHOLE = ("if", "map", "deliverable")  # considered once, however many items there are


def check_step(draft: Draft, name: str) -> None:
    step = draft.steps[name]
    foreign = set(_foreign(step))
    for key in foreign:
        _find_foreign(draft, name, key)
    for key, known in KEYS.items():
        if key == "deliverable" and "map" in step:
            map_key.widen(draft, name)
        if key in step and key not in foreign:
            known.check(draft, name)


def kind_of(step: Mapping[str, Any]) -> str:
    return next(kind for kind in NAMES if kind in step)


def reads_of(step: Mapping[str, Any]) -> frozenset[str]:
    """The steps that it reads, at whatever place."""
    return frozenset().union(*(KEYS[key].reads(value) for key, value in step.items()))


def item_reads_of(step: Mapping[str, Any]) -> frozenset[str]:
    """Those that each item or pass of it reads."""
    return reads_of({key: value for key, value in step.items() if key not in OF_THE_WHOLE})


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
