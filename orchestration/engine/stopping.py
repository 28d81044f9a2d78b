"""Lets a run end before its time, whoever wishes it."""

import json
from collections.abc import Mapping
from typing import Any

from orchestration.engine.connection import rows, value
from orchestration.engine.hints import hint_after_commit
from orchestration.models import Run

STOP = "select engine_cancel_v4(%s, %s, %s::jsonb, %s::jsonb)"
TAKES_BACK = """
select s.queue from orchestration_run r join orchestration_step s on s.run_id = r.id
where r.id = %s and r.undoing and s.undoes is not null and s.status = 'ready'
"""


def stop(run: int, ends_as: str, note: Mapping[str, Any], gate: str | None = None) -> str | None:
    """As `engine_cancel` does; its status afterwards. Workers are told of what it has to take back first."""
    status: str | None = value(STOP, [run, ends_as, json.dumps(note), gate])
    ready = rows(TAKES_BACK, [run]) if status == Run.Status.CANCELING else []
    hint_after_commit({queue: 1 for (queue,) in ready}, [run])
    return status
