"""A worker process without its threads: the recorder, the walkers and the sweeper are the real ones, and take their
turns when they are told to."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from django.db import DataError, Error, IntegrityError, transaction

from agents.calls import say_nothing
from orchestration.engine.execution import Execution
from orchestration.engine.facts import facts_of
from orchestration.engine.hands import InHand
from orchestration.engine.process import Process
from orchestration.engine.recorder import Ended, Recorder
from orchestration.engine.sweeper import Sweeper
from orchestration.testkit.exceptions import EngineFailed

ENOUGH = 1_000  # walkers, those that hang included


class Worker:
    """`look`, `do`, `record` and `sweep` are what its threads do."""

    def __init__(self) -> None:
        self.process = Process()
        self.process.recorder = FrankRecorder(self.process)
        self.process.sweeper = self.sweeper = FrankSweeper(self.process)
        self.process.hands.walkers = ENOUGH  # as if their threads had begun
        self.process.lease.take()
        self.process.lease.life.renewed_at = math.inf  # however long somebody looks at it in a debugger
        self.id = self.process.worker_id

    def look(self) -> list[InHand]:
        """Claim for the walkers that are free."""
        return self.record([], look=True)

    def do(self, hand: InHand, say: Callable[..., None] = say_nothing) -> None:
        """A walker's part. What is no error of an agent is raised: it is the caller's."""
        execution = Execution(hand.claim, facts_of(hand.claim), hand.canceled, say, hand.begins)
        self.process.recorder.ended(hand, execution.outcome())

    def record(self, ended: Sequence[Ended], *, look: bool) -> list[InHand]:
        """Hand these in, and claim for the walkers that are free; what lies on the walkers' shelf."""
        recorder, shelf = self.process.recorder, self.process.hands.shelf
        recorder.more = look
        recorder._record(list(ended))
        while recorder._alone or not recorder.inbox.empty():
            recorder._record(recorder._gather())
        got = []
        while not shelf.empty():
            if hand := shelf.get():
                got.append(hand)
        return got

    def sweep(self) -> dict[str, Any]:
        """What there was to do, and the seconds until each timer that is the next of its kind."""
        self.sweeper.sweep()
        return self.sweeper.found


class FrankRecorder(Recorder):
    """What a worker would try again and again is raised. It writes inside the transaction of a test."""

    def flush(self, batch: list[Ended], *, patient: bool = False) -> None:
        try:
            with transaction.atomic():
                super().flush(batch, patient=patient)
        except (DataError, IntegrityError):
            raise  # of one item, whose step fails
        except Error as exc:
            raise EngineFailed(str(exc)) from exc


class FrankSweeper(Sweeper):
    """What fails in a part of it is raised."""

    found: dict[str, Any]

    def _guarded(self, part: str, do: Callable[[], Any]) -> Any:
        return do()

    def _sweep_rows(self) -> dict[str, Any]:
        self.found = super()._sweep_rows()
        return self.found
