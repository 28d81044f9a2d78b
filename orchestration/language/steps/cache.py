"""`cache`: the answer is kept for steps that would ask the same."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in
from ..references import check_template


def check(draft: Draft, name: str) -> None:
    step = draft.steps[name]
    cache, at = step["cache"], ["steps", name, "cache"]
    if not isinstance(cache, dict):
        return
    if "key" in cache:
        check_template(draft, [*at, "key"], cache["key"], name, draft.roots_of(name, "asking"))
    if seconds_in(cache, "ttl") == 0:
        draft.find([*at, "ttl"], "cache", "It is kept for no time.", "Write how long, such as 1h, or take cache out.")
    if step.get("repeatable") is False:
        message = "A call that may not be repeated is not to be left out either."
        draft.find_key(at, "cache", message, "Take cache out, or repeatable.")
    if "compensate" in step:
        message = "What is to be taken back has to be done by this run."
        draft.find_key(at, "cache", message, "Take cache out, or compensate.")
    if "repeat" in step:
        draft.find_key(at, "cache", "Each pass would be given the answer of the first.", "Take cache out, or repeat.")
    agent = draft.agents.get(step.get("agent", ""))
    if agent is not None and agent.kind == "orchestrator":
        message = f"{step['agent']} starts runs; what they do is not kept."
        draft.find_key(at, "cache", message, "Write cache at the steps of the definition that it runs.")


def plan(draft: Draft, name: str) -> dict[str, Any]:
    cache = draft.steps[name]["cache"]
    return {"cache": {"key": cache.get("key"), "ttl": seconds_in(cache, "ttl")}}
