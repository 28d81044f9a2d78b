import os
import threading
import time

import structlog
from django.conf import settings
from django.db import Error, connection

from orchestration.engine import failpoints
from orchestration.engine.connection import assert_isolation, rows, use_own_connection
from orchestration.engine.hands import Hands, InHand
from orchestration.engine.hints import hints, takes_nothing
from orchestration.engine.housekeeper import Housekeeper
from orchestration.engine.lease import Lease, Life
from orchestration.engine.lines import LineWriter
from orchestration.engine.listener import Listener
from orchestration.engine.outcomes import Claim
from orchestration.engine.recorder import Recorder
from orchestration.engine.recovery import hand_back
from orchestration.engine.sweeper import Sweeper
from orchestration.engine.walker import Voice, Walker

log = structlog.get_logger(__name__)
STEPS_IN_A_ROW, SECONDS_IN_A_ROW = 50, 2.0  # then a walker gives its run back, if others wait
JOIN_SECONDS = 5.0
LINES_SECONDS = 2.0  # what is said last may take to be written, when the process stops


class Process:
    """The engine of one worker process: a recorder, walkers, a sweeper, a housekeeper, a lease, a line writer and a
    listener, each a thread."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.draining = threading.Event()
        self.hands = Hands()
        self.lease = Lease(self)
        self.recorder = Recorder(self)
        self.sweeper = Sweeper(self)
        self.housekeeper = Housekeeper(self)
        self.lines = LineWriter()
        self.listener = Listener(self)

    @property
    def worker_id(self) -> int:
        return self.lease.life.id

    def start(self) -> None:
        """Raises RuntimeError if the database is not fit for the engine."""
        assert_isolation()
        keep_to_cpu()
        self.lease.take()
        connection.close()
        for thread in (self.lease, self.recorder, self.sweeper, self.housekeeper, self.lines, self.listener):
            thread.start()
        self.recorder.look()
        hints.takes = self.takes
        log.info(
            "engine_started", worker=self.worker_id, threads=settings.WORKER_THREADS, queues=settings.WORKER_QUEUES
        )

    def stop(self) -> None:
        """Drain: claim nothing more, let calls end within the grace time, hand back the rest, give the lease up."""
        self.draining.set()
        hints.takes = takes_nothing
        failpoints.reach("drain")
        self.recorder.wait_until_it_claims_no_more(JOIN_SECONDS)
        self.hands.wait_until_empty(settings.WORKER_DRAIN_SECONDS)
        self.hands.ask_to_stop()
        self.hands.wait_until_empty(1.0)
        self.stopped.set()
        self.recorder.look()
        self.sweeper.wake_within(0.0)
        for thread in (self.recorder, self.recorder.patient, self.lease):  # a late heartbeat takes no new row
            thread.join(JOIN_SECONDS)
        self.lines.stop(LINES_SECONDS)
        self._give_back()
        for _ in range(self.hands.walkers):
            self.hands.shelf.put(None)
        hints.drain(1.0)
        log.info("engine_stopped", worker=self.worker_id)

    def _give_back(self) -> None:
        """What was not ended, and the lease. A step that cannot be handed back goes the way of a dead worker's."""
        use_own_connection()
        owed = self.hands.owed()
        try:
            rows("set lock_timeout = '1s'")
            for run in sorted({run for run, _, _ in owed}):
                try:
                    hand_back(self, {place for place in owed if place[0] == run}, begun=True, patient=True)
                except Error as exc:
                    log.warning("not_handed_back", run=run, error=str(exc).strip())
            failpoints.reach("drained")
            rows("reset lock_timeout")  # a heartbeat whose commit takes long has the row
            self.lease.give_up()
        except Error as exc:
            log.warning("lease_not_given_up", error=str(exc).strip())
        connection.close()

    def look(self, queue: str) -> None:
        """A hint came: claim; and sweep, if it may be an answer that came."""
        if queue == hints.ANSWERS:
            self.sweeper.hear_answer()
        self.recorder.look()

    def takes(self, queue: str, steps: int) -> bool:
        """What became ready by a thread of this process, it takes itself if it can, without a way over Valkey."""
        is_able = queue in settings.WORKER_QUEUES and steps <= self.hands.free() and self.lease.life.may_begin()
        if is_able and not self.draining.is_set():
            self.look(queue)
            return True
        return False

    def begin(self, claim: Claim, life: Life, after: InHand | None = None) -> None:
        """Give a claim to the walkers. `after`: the recorded step whose place in hand it takes."""
        if self.hands.begin(claim, life, after):
            Walker(self, self.hands.walkers).start()

    def goes_on(self, hand: InHand) -> bool:
        """Whether the run's next step is done here: not for ever while others wait."""
        if self.draining.is_set() or not hand.life.may_begin() or hand not in self.hands:
            return False
        return not self.recorder.more or (
            hand.in_a_row < STEPS_IN_A_ROW and time.monotonic() - hand.row_since < SECONDS_IN_A_ROW
        )

    def give_up_hung(self) -> None:
        for hand, outcome in self.hands.give_up_hung():
            log.error("call_hung", run=hand.claim.public_id, step=hand.claim.name, called=hand.called_at is not None)
            Voice(self.lines, hand.claim).tell_failure(outcome)
            self.recorder.ended(InHand(hand.claim, hand.life), outcome)


def keep_to_cpu() -> None:
    """This thread, and all that it starts. One of them runs Python at a time, and they take turns several times a step:
    to wake the next one takes five times as long on another processor."""
    if settings.WORKER_CPU >= 0 and hasattr(os, "sched_setaffinity"):  # but on Linux nobody can ask for it
        ours = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {ours[settings.WORKER_CPU % len(ours)]})


process: Process | None = None


def start_process() -> None:
    """Start the engine of this worker process, once."""
    global process
    process = Process()
    process.start()


def stop_process() -> None:
    if process is not None:
        process.stop()


def look(queue: str) -> None:
    """As a hint does. Does nothing where no engine runs."""
    if process is not None:
        process.look(queue)
