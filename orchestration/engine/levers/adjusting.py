"""Changes what a run that goes on is promised: its turn, and its time."""

import json
from datetime import datetime
from typing import Any

from accounts.models import Member
from orchestration.engine.levers.acting import act, note_of
from orchestration.models import Run

ADJUST = "select engine_adjust_v1(%s, %s::jsonb, %s::jsonb)"


def set_priority(run: Run, *, by: Member | None, reason: str, priority: int) -> None:
    """From -100 to 100; what is ready already moves too. Raises Refused."""
    _change(run, {"priority": priority}, by, reason)


def set_deadline(run: Run, *, by: Member | None, reason: str, deadline_at: datetime | None) -> None:
    """When the run has to have ended; None: whenever it does. Raises Refused."""
    _change(run, {"deadline_at": deadline_at.isoformat() if deadline_at else None}, by, reason)


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
