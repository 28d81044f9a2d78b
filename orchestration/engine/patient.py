import queue
from typing import TYPE_CHECKING

from django.db import connection

from orchestration.engine import failpoints
from orchestration.engine.recovery import LONGEST_PAUSE_SECONDS, Recovery
from orchestration.engine.vital import Vital

if TYPE_CHECKING:
    from orchestration.engine.recorder import Ended, Recorder


class PatientRecorder(Vital):
    """A second connection, for outcomes that cannot be written at once: their run is locked elsewhere for long, or the
    database does not take them. Each waits alone. It claims nothing: what becomes ready here is for the recorder."""

    def __init__(self, recorder: "Recorder") -> None:
        super().__init__("patient-recorder")
        self.recorder = recorder
        self.waiting: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()  # None: stop
        self._recovery = Recovery(
            recorder.process, flush=self._flush, settled=recorder.settled, keep=self._keep, claims=False
        )

    def work(self) -> None:
        while (ended := self.waiting.get()) is not None:
            failpoints.reach("patient")
            self._recovery.write([ended])
            if self.waiting.empty():
                connection.close()
            self.recorder.look()

    def _flush(self, batch: "list[Ended]") -> None:
        self.recorder.flush(batch, patient=True)

    def _keep(self, ended: "Ended") -> None:
        self.recorder.process.stopped.wait(LONGEST_PAUSE_SECONDS)
        self.waiting.put(ended)
