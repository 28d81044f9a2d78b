import math
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection

from approvals.models import Request
from orchestration.engine import (
    admission,
    answers,
    budgets,
    bulk,
    cache,
    children,
    deadlines,
    failpoints,
    mail,
    schedules,
    slots,
)
from orchestration.engine.connection import decoded, rows, use_own_connection, value

if TYPE_CHECKING:
    from orchestration.engine.process import Process

log = structlog.get_logger(__name__)
SWEEP = "select engine_sweep_v2(%s, %s, %s, %s)"
TAKEN = """
select h.run, h.key, h.fence from unnest(%s::bigint[], %s::int[], %s::bigint[]) as h(run, key, fence)
join orchestration_step s on s.run_id = h.run and s.key = h.key join orchestration_run r on r.id = h.run
where s.status <> 'running' or s.fence <> h.fence or r.status = 'canceling' and s.undoes is null
    and s.undo_version_id is null
"""
COME_BACK_SECONDS = 0.05  # for runs that were locked, or one too many for a sweep
# What a sweep finds for a hand, by its name there; each says how many it worked for.
ERRANDS: dict[str, Callable[[], int]] = {
    "answers": answers.take_up_decisions,
    "untold": children.tell_parents,
    "untidy": answers.tidy_up,
    "schedules": schedules.start_due,
    "events": mail.match,
    "overdue": deadlines.stop_overdue,
    "bulk": bulk.work,
    "limits": slots.tend,
    "budgets": budgets.look_after,
    "flights": cache.pass_on,
    "evictions": admission.evict,
    "starts": admission.give_turns,
}
UNKNOWN: dict[str, Any] = {
    "deadline": 0.0,
    "schedule": 0.0,
    "wake": None,
    "neighbors": None,
    "failed": [],
    "more": False,
} | dict.fromkeys(("swept", "ready", *ERRANDS), True)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class Sweeper(threading.Thread):
    """Repairs from the rows alone, on a thread of each worker process, busy or not; sleeps until the nearest timer."""

    def __init__(self, process: "Process") -> None:
        super().__init__(name="sweeper", daemon=True)
        self.process = process
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._at = math.inf  # when to sweep, if somebody wishes so
        self._answered = threading.Event()
        self._failed: list[int] = []  # runs that could not be repaired

    def hear_answer(self) -> None:
        """An answer may have come: it is taken up now, and before the sweep, which somebody would wait for."""
        self._answered.set()
        self.wake_within(0.0)

    def wake_within(self, seconds: float) -> None:
        """Sweep no later than that."""
        with self._lock:
            self._at = min(self._at, time.monotonic() + seconds)
        self._wake.set()

    def run(self) -> None:
        use_own_connection()
        while not self.process.stopped.is_set():
            pause = settings.WORKER_SWEEP_SECONDS
            with self._lock:
                self._at = math.inf  # a wish that comes from now on is for the next sweep
            try:
                pause = self.sweep()
            except Error as exc:
                log.warning("sweep_failed", error=str(exc).strip())
                connection.close()
            except Exception:  # the top of the thread: the next sweep tries again
                log.exception("sweep_crashed")
            self._sleep(pause)
        connection.close()

    def _sleep(self, seconds: float) -> None:
        self.wake_within(seconds)
        while (left := self._at - time.monotonic()) > 0 and not self.process.stopped.is_set():
            self._wake.wait(left)
            self._wake.clear()

    def sweep(self) -> float:
        """One sweep; seconds until the next is due."""
        if self._answered.is_set():
            self._answered.clear()
            if self._guarded("answers", answers.take_up_decisions):
                self.process.recorder.look()
        self._guarded("hung", self.process.give_up_hung)
        failpoints.reach("sweep")
        found = self._sweep_rows()
        failpoints.reach("swept")
        told: list[object] = []
        due = found["deadline"] is not None and found["deadline"] <= 0
        if due:
            told.append(self._guarded("deadlines", Request.expire_due))
            failpoints.reach("expired")
        found["answers"] |= due
        found["schedules"] = found["schedule"] is not None and found["schedule"] <= 0
        told += [self._guarded(name, errand) for name, errand in ERRANDS.items() if found[name]]
        if any(found[name] for name in ("ready", "swept", "answers", "untold", "starts")):
            self.process.recorder.look()
        self._guarded("neighbors", lambda: self._declare_gone(found["neighbors"] or []))
        self._guarded("taken", self._stop_taken)
        if any(told):
            return 0.005  # what was told may end a run that is to be told in its turn
        timers = [found[name] for name in ("wake", "deadline", "schedule") if found[name] is not None]
        if found["more"] or found["limits"]:  # one of these, too, may have been locked
            timers.append(COME_BACK_SECONDS)
        for name in ("deadline", "schedule"):  # locked by another, or broken: not a reason to look again at once
            if found[name] is not None and found[name] <= 0:
                timers.remove(found[name])
        return float(max(0.005, min([settings.WORKER_SWEEP_SECONDS, *timers])))

    def _guarded(self, part: str, do: Callable[[], Any]) -> Any:
        """What a part of the sweep gave; None if it failed: the others go on, and the next sweep tries it again."""
        try:
            return do()
        except (OperationalError, InterfaceError) as exc:
            log.warning("sweep_failed", part=part, error=str(exc).strip())
            connection.close()
        except Error:
            log.exception("sweep_failed", part=part)
            connection.close()
        except Exception:  # an error that comes with every sweep is not to stop what else it does
            log.exception("sweep_crashed", part=part)
        return None

    def _sweep_rows(self) -> dict[str, Any]:
        """What there is for a hand; all there may be, if the rows cannot tell. Raises when the database is lost."""
        given = [self.process.worker_id, settings.WORKER_LEASE_SECONDS, settings.WORKER_LOST_LIMIT, self._failed]
        try:
            found = dict(decoded(value(SWEEP, given)))
        except (OperationalError, InterfaceError):
            raise
        except Error:
            log.exception("sweep_failed", part="rows")
            connection.close()
            return UNKNOWN
        for run, error in found["failed"]:
            log.error("run_not_repaired", run=run, error=error)
        # They are left out until a sweep finds no others that fail: so many of them hide none behind them.
        self._failed = [*self._failed, *(run for run, _ in found["failed"])] if found["failed"] else []
        return found

    def _declare_gone(self, neighbors: list[tuple[int, int]]) -> None:
        """A process of this host that is not there any more need not be waited for until its lease ends.

        FOR UPDATE, as in the sweep itself: what the server still commits for it comes first.
        """
        gone = [worker for worker, pid in neighbors if is_gone(pid)]
        if gone:
            log.warning("workers_gone", workers=gone)
            rows(
                "update orchestration_worker set dead_at = clock_timestamp() where id in (select id from"
                " orchestration_worker where id = any(%s) and dead_at is null for update skip locked)",
                [gone],
            )
            failpoints.reach("gone")
            self.wake_within(0.0)

    def _stop_taken(self) -> None:
        """Calls whose run is canceling, unless their end says what is to be undone; and those whose step is no longer
        this process's: its time was over, say."""
        places = self.process.hands.places()
        if places:
            taken = set(rows(TAKEN, [list(each) for each in zip(*places, strict=True)]))
            self.process.hands.ask_to_stop(lambda hand: hand.claim.place in taken)
