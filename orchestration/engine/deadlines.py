"""Ends runs that take longer than their definition allows."""

from accounts.clock import database_clock
from orchestration.engine.settling import each
from orchestration.engine.stopping import stop
from orchestration.models import Run
from orchestration.models.runs import none_of


def stop_overdue() -> int:
    """As a cancel does, but that the run fails. How many."""
    going = (Run.Status.RUNNING, Run.Status.WAITING, Run.Status.PAUSED)
    now = database_clock()  # a value, so that the index is read up to it and not to its end
    late = Run.objects.filter(none_of("ended_at"), deadline_at__lte=now, status__in=going, undoing=False)
    return each(late, _stop)


def _stop(run: int) -> None:
    error = {"class": "timeout", "message": "It did not end in the time that its definition allows.", "step": None}
    stop(run, Run.Status.FAILED, {"reason": error["message"], "error": error})
