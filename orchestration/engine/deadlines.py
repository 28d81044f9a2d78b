"""Ends runs that take longer than their definition allows."""

import json

from accounts.clock import ClockTimestamp
from orchestration.engine.connection import value
from orchestration.engine.hints import hints
from orchestration.engine.settling import each
from orchestration.models import Run

STOP = "select engine_cancel_v4(%s, 'failed', %s::jsonb)"


def stop_overdue() -> int:
    """As a cancel does, but that the run fails. How many."""
    going = (Run.Status.RUNNING, Run.Status.WAITING, Run.Status.PAUSED)
    return each(Run.objects.filter(ended_at=None, deadline_at__lte=ClockTimestamp(), status__in=going), _stop)


def _stop(run: int) -> None:
    error = {"class": "timeout", "message": "It did not end in the time that its definition allows.", "step": None}
    value(STOP, [run, json.dumps({"reason": error["message"], "error": error})])
    hints.changed([run])
