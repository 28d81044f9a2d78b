"""Changes what a run that goes on is promised: its turn, its time, and how many items of a map are at work at once."""

import json
from datetime import datetime
from typing import Any

from accounts.models import Member
from orchestration.engine.levers.acting import act, note_of
from orchestration.engine.plans import plan_of
from orchestration.models import Run, Step

ADJUST = "select engine_adjust_v1(%s, %s::jsonb, %s::jsonb)"
MOST = 1_000_000  # items at once: more than any map has
WIDEN = "select engine_widen_v1(%s, %s, %s, %s, %s::jsonb)"


def set_priority(run: Run, *, by: Member | None, reason: str, priority: int) -> None:
    """From -100 to 100; what is ready already moves too. Raises Refused."""
    _change(run, {"priority": priority}, by, reason)


def set_deadline(run: Run, *, by: Member | None, reason: str, deadline_at: datetime | None) -> None:
    """When the run has to have ended; None: whenever it does. Raises Refused."""
    _change(run, {"deadline_at": deadline_at.isoformat() if deadline_at else None}, by, reason)


def set_concurrency(run: Run, step: Step, *, by: Member | None, reason: str, concurrency: int) -> None:
    """So many items of this map are at work at once from now on; what is at work goes on. Raises Refused."""
    note = note_of(by, reason)
    act(
        run,
        WIDEN,
        [step.key, concurrency, at_once(step), json.dumps(note)],
        by=by,
        action="run.change",
        data={**note, "step": step.name, "concurrency": concurrency},
        otherwise="only a map of which items wait for their turn can be changed",
    )


def all_begun(step: Step) -> str | None:
    """Why its window cannot be changed; None if it can, as far as the row tells."""
    if step.next_item is not None and step.next_item < (step.first_item or 0) + (step.item_count or 0):
        return None
    return f"Step {step.name} has no items that wait for their turn."


def at_once(step: Step) -> int | None:
    """How many items are at work at once: as a person said, else as the definition says; None: all."""
    plan = plan_of(step.run.definition_version_id).steps[step.position]
    return step.item_window or plan.map.get("concurrency")


def _change(run: Run, what: dict[str, Any], by: Member | None, reason: str) -> None:
    note = note_of(by, reason)
    given = [json.dumps(what), json.dumps(note)]
    act(
        run,
        ADJUST,
        given,
        by=by,
        action="run.change",
        data={**note, **what},
        otherwise="only one that has not ended can be changed",
    )
