"""What belongs to a run: the run that started it, those that it started, what it made and what it asked."""

from collections.abc import Mapping
from typing import Any

from orchestration.models import Deliverable
from orchestration.run_lists import simulated_among
from orchestration.run_rows import RunRows
from ui.addresses import whole_number


def relatives_of(rows: RunRows) -> dict[str, Any]:
    """`shown` counts the rows: none ever goes."""
    simulated = simulated_among(rows.relatives)
    of_child = {step.child_run_id: step.name for step in rows.all_steps if step.child_run_id}
    each = [
        {"run": run, "step": of_child.get(pk), "is_simulated": pk in simulated}
        for pk, run in sorted(rows.relatives.items())
    ]
    made = list(Deliverable.objects.filter(run=rows.run).for_page().order_by("name", "-version"))
    return {
        "parents": [one for one in each if one["step"] is None],
        "children": [one for one in each if one["step"] is not None],
        "deliverables": made,
        "questions": rows.questions,
        "shown": len(each) + len(made) + len(rows.questions),
    }


def moved_relatives(rows: RunRows, asked_for: Mapping[str, str]) -> dict[str, Any]:
    """The rows of the runs and questions `ids`, and how many there are beyond those `shown`."""
    found, wanted = relatives_of(rows), asked_for.get("ids", "").split(",")
    shown = whole_number(asked_for.get("shown", ""))
    known = found["shown"] if shown is None else shown
    return {
        "parents": [one for one in found["parents"] if one["run"].public_id in wanted],
        "children": [one for one in found["children"] if one["run"].public_id in wanted],
        "questions": [asked for asked in rows.questions if asked.public_id in wanted],
        "new": max(0, found["shown"] - known),
    }
