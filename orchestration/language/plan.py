"""The compiled form: all that the engine knows of a definition. Only of a draft without errors."""

from typing import Any

from . import steps, top
from .draft import Draft
from .references import steps_read
from .steps import retry

# What every plan has of a step, whether it is used or not; all else stands there only where it is.
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("agent", "if", "with", "conversation", "timeout", "repeatable", "approval", "deliverable")),
    "reads_status": False,
    "retry": retry.ONCE,
}
FIRST_KINDS = ("agent", "approval")


def plan_of(draft: Draft) -> dict[str, Any]:
    value = draft.root.value
    output = value.get("output")
    known = [plan_of_step(draft, key, name) for key, name in enumerate(draft.steps, start=1)]
    more: dict[str, Any] = {}
    for key, part in top.KEYS.items():
        if key in value:
            more |= part.plan(draft)
    if level := _level(more, known):
        more["level"] = level
    return {
        "name": value["name"],
        "description": value.get("description", ""),
        "input": value.get("input"),
        "output": output,
        "output_reads": sorted(steps_read(output)),
        "steps": known,
        **more,
    }


def plan_of_step(draft: Draft, key: int, name: str) -> dict[str, Any]:
    step = draft.steps[name]
    plan = {
        "key": key,
        "name": name,
        "kind": steps.kind_of(step),
        "needs": draft.needs[name],
        "reads": sorted(steps.reads_of(step)),
        "output_schema": draft.output_schemas.get(name),
        **NOTHING,
    }
    for each in step:
        plan |= steps.KEYS[each].plan(draft, name)
    if name in draft.handles:
        plan["handles"] = draft.handles[name]
    if "map" in step or "repeat" in step:
        plan["item_reads"] = sorted(steps.item_reads_of(step))
    if name in draft.chosen_by:
        plan["chosen_by"] = draft.chosen_by[name]
    return plan


FIRST_KEYS = {"key", "name", "kind", "needs", "reads", "output_schema", *NOTHING}
# Of plans of a level, the newest first: the keys that are in no plan of a level below, of the whole and of steps with
# their checkpoints and waits.
LEVELS: dict[int, tuple[set[str], set[str]]] = {
    4: (set(), {"child"}),
    3: ({"expect", "fair_weight"}, {"on_failure_by", "derived"}),
    2: (
        {"budget", "concurrency", "debounce", "fair_by", "labels", "messages", "priority", "rate", "visible_to"},
        {"cache", "compensate", "concurrency", "rate"},
    ),
}
HIGHEST_LEVEL = max(LEVELS)  # this release understands all up to it


def _level(more: dict[str, Any], known: list[dict[str, Any]]) -> int:
    """Which release can walk it: workers of an earlier one leave its runs alone."""
    said = {key for step in known for key in (*step, *(step["approval"] or ()), *step.get("wait", ()))}
    for level, (of_whole, of_steps) in LEVELS.items():
        if not (of_whole.isdisjoint(more) and of_steps.isdisjoint(said)):
            return level
    return int(bool(more) or any(_is_new(step) for step in known))


def _is_new(step: dict[str, Any]) -> bool:
    return (
        step["kind"] not in FIRST_KINDS
        or not FIRST_KEYS.issuperset(step)
        or not retry.ONCE.keys() >= step["retry"].keys()
    )
