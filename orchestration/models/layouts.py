"""A checked plan to the rows that a run of it starts with."""

from typing import Any

from orchestration.language.expressions import compile_expression


def layout(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The step rows of a new run, as `engine_start` inserts them.

    A definition with an `output` gets one row more, of kind `output` and without a name: it needs all steps that no
    other needs (one that any or n of several let start does not wait for each) and is considered whatever became of
    them, so that the run's output is computed as a step is.

    A step's number among `dependants` is negative where that step is considered whatever became of this one.
    """
    key_of = {step["name"]: step["key"] for step in plan["steps"]}
    needs = {step["key"]: [key_of[name] for name in step["needs"]] for step in plan["steps"]}
    rows = [
        {
            "key": step["key"],
            "name": step["name"],
            "kind": row_kind(step),
            "agent": step["agent"],
            "open_needs": len(step["needs"]),
            "reads": sorted(
                {
                    key_of[name]
                    for name in [
                        *step["reads"],
                        *gates_among(plan, step),
                        *step.get("handles", ()),
                        *step.get("chosen_by", ()),
                    ]
                }
            ),
            "tolerant": False,
            "repeatable": step["repeatable"] if row_kind(step) == step["kind"] else True,
            **rare_parts(step),
        }
        for step in plan["steps"]
    ]
    if plan["output"] is not None:
        last = len(rows) + 1
        waited_for = {key_of[name] for step in plan["steps"] if "wanted" not in step for name in step["needs"]}
        needs[last] = [key for key in needs if key not in waited_for]
        rows.append(
            {
                "key": last,
                "name": "",
                "kind": "output",
                "agent": None,
                "open_needs": len(needs[last]),
                "reads": sorted(key_of[name] for name in plan["output_reads"]),
                "tolerant": True,
                "repeatable": True,
            }
        )
    tolerated = {step["key"]: {key_of[name] for name in tolerated_by(step)} for step in plan["steps"]}
    for row in rows:
        waiting = sorted(key for key, wanted in needs.items() if row["key"] in wanted)
        row["dependants"] = [-key if row["key"] in tolerated.get(key, ()) else key for key in waiting]
    return rows


def rare_parts(step: dict[str, Any]) -> dict[str, Any]:
    """What only some steps have: their times, and what their failure means, what undoes them."""
    timeouts = step.get("timeouts", {}) if row_kind(step) == step["kind"] else {}  # else each item or pass has them
    parts = {
        "slack": len(step["needs"]) - step["wanted"] if "wanted" in step else None,
        "total": timeouts.get("step"),
        "patience": timeouts.get("queue"),
        "expects": step.get("expect", {}).get("within"),
        "forgiven": "on_failure" in step or None,
        "limited": "concurrency" in step or "rate" in step or None,
        "carries": step.get("on_failure") == "continue" or None,
        "undo": step.get("compensate", {}).get("agent"),
        "on_failure": failures_of(step),
    }
    return {name: part for name, part in parts.items() if part is not None}


def failures_of(step: dict[str, Any]) -> dict[str, str] | None:
    """What follows from each class of error: for the rows it is the same which step is done for it."""
    by_class = step.get("on_failure_by")
    return by_class and {name: said if said in ("fail", "continue") else "other" for name, said in by_class.items()}


def row_kind(step: dict[str, Any]) -> str:
    """Of the row of a step: a map and a repeat stand before what each item or pass does."""
    return next((around for around in ("map", "repeat") if around in step), str(step["kind"]))


def tolerated_by(step: dict[str, Any]) -> set[str]:
    """The needs whose status its conditions read or whose failure it is there for: it is considered anyhow."""
    conditions = [step["if"], *(branch["if"] for branch in step.get("choose", ()))]
    read = [compile_expression(source).names.statuses for source in conditions if source is not None]
    return set(step["needs"]) & set().union(step.get("handles", ()), *read)


def gates_among(plan: dict[str, Any], step: dict[str, Any]) -> list[str]:
    """The checkpoints that this step needs directly: it reads their decision to compare digests before it starts."""
    gates = {other["name"] for other in plan["steps"] if other["kind"] == "approval"}
    return [name for name in step["needs"] if name in gates]
