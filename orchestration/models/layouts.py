"""A checked plan to the rows that a run of it starts with."""

from typing import Any


def layout(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The step rows of a new run, as `engine_start` inserts them.

    A definition with an `output` gets one row more, of kind `output` and without a name: it needs all steps that no
    other needs and is considered whatever became of them, so that the run's output is computed as a step is.
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
            "reads": sorted({key_of[name] for name in [*step["reads"], *gates_among(plan, step)]}),
            "tolerant": step["reads_status"],
            "repeatable": step["repeatable"],
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
    for row in rows:
        row["dependants"] = sorted(key for key, wanted in needs.items() if row["key"] in wanted)
    return rows


def gates_among(plan: dict[str, Any], step: dict[str, Any]) -> list[str]:
    """The checkpoints that this step needs directly: it reads their decision to compare digests before it starts."""
    gates = {other["name"] for other in plan["steps"] if other["kind"] == "approval"}
    return [name for name in step["needs"] if name in gates]
