import queue
from typing import TYPE_CHECKING

from django.db import connection

from orchestration.engine import failpoints
from orchestration.engine.recovery import LONGEST_PAUSE_SECONDS, Recovery
from orchestration.engine.vital import Vital

if TYPE_CHECKING:
    from orchestration.engine.recorder import Ended, Recorder

IDLE_SECONDS = 5.0  # then the connection is closed
MOST = 99  # that are written with the first


class PatientRecorder(Vital):
    """A second connection, for outcomes that cannot be written at once: their run is locked elsewhere for long, or the
    database does not take them. Those of one run wait together. It claims nothing: what becomes ready here is for the
    recorder."""

    def __init__(self, recorder: "Recorder") -> None:
        super().__init__("patient-recorder")
        self.recorder = recorder
        self.waiting: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()  # None: stop
        self._recovery = Recovery(
            recorder.process, flush=self._flush, settled=recorder.settled, keep=self._keep, claims=False
        )

    def work(self) -> None:
        while (ended := self._next()) is not None:
            failpoints.reach("patient")
            self._recovery.write([ended, *self._beside(ended)])
            self.recorder.look()

    def _next(self) -> "Ended | None":
        """A connection that has planned its statements is kept while it is likely to be needed again."""
        try:
            return self.waiting.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            connection.close()
            return self.waiting.get()

    def _beside(self, first: "Ended") -> "list[Ended]":
        """What else waits for the same run; not what has rows of its own."""
        if first.prepare is not None:
            return []
        waiting = [self.waiting.get() for _ in range(self.waiting.qsize())]
        beside = [one for one in waiting if one and one.claim.run == first.claim.run and one.prepare is None][:MOST]
        for one in waiting:
            if one not in beside:
                self.waiting.put(one)
        return beside

    def _flush(self, batch: "list[Ended]") -> None:
        self.recorder.flush(batch, patient=True)

    def _keep(self, ended: "Ended") -> None:
        self.recorder.process.stopped.wait(LONGEST_PAUSE_SECONDS)
        self.waiting.put(ended)
