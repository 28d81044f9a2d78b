import os
import threading
from typing import TYPE_CHECKING

import structlog
from django.db import Error, connection

from orchestration.engine import slots
from orchestration.engine.connection import use_own_connection, value

if TYPE_CHECKING:
    from orchestration.engine.process import Process

log = structlog.get_logger(__name__)
EVERY_SECONDS = 60.0


class Housekeeper(threading.Thread):
    """Makes partitions ahead and removes what nobody needs any more, a little once a minute, one process at a time; and
    looks for what was left behind."""

    def __init__(self, process: "Process") -> None:
        super().__init__(name="housekeeper", daemon=True)
        self.process = process
        self._after = os.urandom(32)  # the payloads behind this digest: each process begins elsewhere

    def run(self) -> None:
        use_own_connection()
        while True:
            try:
                last = value("select engine_housekeeping_v4(%s)", [self._after])
                self._after = self._after if last is None else bytes(last)
                if slots.stir_left():
                    self.process.sweeper.wake_within(0.0)
            except Error as exc:
                log.warning("housekeeping_failed", error=str(exc).strip())
            except Exception:  # the top of the thread: it tries again
                log.exception("housekeeping_crashed")
            connection.close()
            if self.process.stopped.wait(EVERY_SECONDS):
                return
