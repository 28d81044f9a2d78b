"""A checked plan to the rows that a run of it starts with."""

from typing import Any


def layout(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The step rows of a new run, as `engine_start` inserts them.

    A definition with an `output` gets one row more, of kind `output` and without a name: it needs all steps that no
    other needs and is considered whatever became of them, so that the run's output is computed as a step is.

    A step's number among `dependants` is negative where that step is considered whatever became of this one.
    """
    key_of = {step["name"]: step["key"] for step in plan["steps"]}
    needs = {step["key"]: [key_of[name] for name in step["needs"]] for step in plan["steps"]}
    rows = [
        {
            "key": step["key"],
            "name": step["name"],
            "kind": step["kind"],
            "agent": step["agent"],
            "open_needs": len(step["needs"]),
            "reads": sorted(
                {key_of[name] for name in [*step["reads"], *gates_among(plan, step), *step.get("handles", ())]}
            ),
            "tolerant": step["reads_status"],
            "repeatable": step["repeatable"],
            **rare_parts(step),
        }
        for step in plan["steps"]
    ]
    if plan["output"] is not None:
        last = len(rows) + 1
        needs[last] = [key for key in needs if not any(key in others for others in needs.values())]
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
    tolerated = {step["key"]: {key_of[name] for name in step.get("handles", ())} for step in plan["steps"]}
    for row in rows:
        waiting = sorted(key for key, wanted in needs.items() if row["key"] in wanted)
        row["dependants"] = [-key if row["key"] in tolerated.get(key, ()) else key for key in waiting]
    return rows


def rare_parts(step: dict[str, Any]) -> dict[str, Any]:
    """What only some steps have: their times, and what their failure means."""
    timeouts = step.get("timeouts", {})
    parts = {
        "total": timeouts.get("step"),
        "patience": timeouts.get("queue"),
        "expects": step.get("expect", {}).get("within"),
        "forgiven": "on_failure" in step or None,
        "carries": step.get("on_failure") == "continue" or None,
    }
    return {name: part for name, part in parts.items() if part is not None}


def gates_among(plan: dict[str, Any], step: dict[str, Any]) -> list[str]:
    """The checkpoints that this step needs directly: it reads their decision to compare digests before it starts."""
    gates = {other["name"] for other in plan["steps"] if other["kind"] == "approval"}
    return [name for name in step["needs"] if name in gates]
