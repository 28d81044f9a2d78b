import math
import os
import threading
import time
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import Error, connection

from approvals.models import Request
from orchestration.engine import answers
from orchestration.engine.connection import decoded, rows, use_own_connection, value

if TYPE_CHECKING:
    from orchestration.engine.process import Process

log = structlog.get_logger(__name__)
SWEEP = "select engine_sweep_v1(%s, %s, %s)"
HOUSEKEEPING_EVERY_SECONDS = 60.0


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
        self._housekeeping_at = 0.0

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
        lease = settings.WORKER_LEASE_SECONDS if self.process.lease.may_declare() else None
        found = decoded(value(SWEEP, [self.process.worker_id, lease, settings.WORKER_LOST_LIMIT]))
        if (found["deadline"] or 1.0) <= 0:
            Request.expire_due()
            found["answers"] = True
        if found["answers"]:
            answers.take_up_decisions()
        if found["untold"]:
            answers.tell_parents()
        if found["untidy"]:
            answers.tidy_up()
        if found["ready"] or found["swept"] or found["answers"] or found["untold"]:
            self.process.recorder.look()
        self._declare_gone(found["neighbors"] or [])
        self._stop_canceled()
        self.process.give_up_hung()
        self._keep_house()
        if found["answers"] or found["untold"] or found["untidy"]:
            return 0.005  # what was told may end a run that is to be told in its turn
        timers = [seconds for seconds in (found["wake"], found["deadline"]) if seconds is not None]
        return float(max(0.005, min([settings.WORKER_SWEEP_SECONDS, *timers])))

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
            self.wake_within(0.0)

    def _stop_canceled(self) -> None:
        runs = self.process.runs_in_hand()
        if runs:
            canceling = rows("select id from orchestration_run where id = any(%s) and status = 'canceling'", [runs])
            if canceling:
                self.process.ask_to_stop({run for (run,) in canceling})

    def _keep_house(self) -> None:
        if time.monotonic() >= self._housekeeping_at:
            rows("select engine_housekeeping_v1()")
            self._housekeeping_at = time.monotonic() + HOUSEKEEPING_EVERY_SECONDS
