import math
import os
import queue
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import Error, connection

from orchestration.engine import failpoints
from orchestration.engine.connection import assert_isolation, rows, use_own_connection, value
from orchestration.engine.hints import hints
from orchestration.engine.lines import LineWriter
from orchestration.engine.listener import Listener
from orchestration.engine.outcomes import Claim
from orchestration.engine.plans import agent_of, plan_of
from orchestration.engine.recorder import Recorder
from orchestration.engine.retries import call_seconds, timed_out
from orchestration.engine.sweeper import Sweeper
from orchestration.engine.walker import Voice, Walker

if TYPE_CHECKING:
    from orchestration.engine.execution import RunFacts

log = structlog.get_logger(__name__)
STEPS_IN_A_ROW, SECONDS_IN_A_ROW = 50, 2.0  # then a walker gives its run back, if others wait
LINES_SECONDS = 2.0  # what is said last may take to be written, when the process stops
HUNG_GRACE_SECONDS = 5.0  # after a call's own deadline, before it is given up


def boot_clock() -> float:
    """Seconds that go on while the machine sleeps, where there is such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def pid_space() -> str:
    """What a pid counts in: the host, and where there are such, the namespace (two containers may share a name)."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()[:200]
    return f"{socket.gethostname()[:100]} {boot} {namespace}"


@dataclass(slots=True, eq=False)
class InHand:
    """A claim that a walker is at work on, from its commit until its outcome is recorded. `canceled` asks this call to
    stop, and no other."""

    claim: Claim
    since: float = field(default_factory=time.monotonic)
    facts: "RunFacts | None" = None  # known, if the step before it was done here
    canceled: threading.Event = field(default_factory=threading.Event)
    is_over: bool = False  # the outcome is handed in; it waits to be recorded
    in_a_row: int = 1  # steps of the run that were done here one after the other, this one included
    row_since: float = 0.0

    def __post_init__(self) -> None:
        self.row_since = self.row_since or self.since

    def next(self, claim: Claim) -> "InHand":
        """The step of the same run that is done after this one."""
        return InHand(claim, facts=self.facts, in_a_row=self.in_a_row + 1, row_since=self.row_since)

    @property
    def seconds(self) -> float:
        """What the call may take."""
        if self.claim.kind != "agent":
            return float(settings.AGENT_CALL_TIMEOUT_SECONDS)
        return float(call_seconds(plan_of(self.claim.definition_version).steps[self.claim.position]))


class Lease(threading.Thread):
    """Renews the process's lease, one update a heartbeat. A life declared dead is over: it takes a new row."""

    def __init__(self, process: "Process") -> None:
        super().__init__(name="lease", daemon=True)
        self.process = process
        self._renewed_at = 0.0
        self._late_at = -math.inf

    def may_declare(self) -> bool:
        """Whether others may be declared dead: not for one lease after own heartbeats were late. What kept them may
        have kept everybody's: a database that was away, and took longer than a lease to recover."""
        return bool(boot_clock() - self._late_at > settings.WORKER_LEASE_SECONDS)

    def may_begin(self) -> bool:
        """Whether a third of the lease is left, counted from before its last heartbeat was sent."""
        return bool(boot_clock() - self._renewed_at < settings.WORKER_LEASE_SECONDS * 2 / 3)

    def take(self) -> None:
        sent = boot_clock()
        self.process.worker_id = value(
            "insert into orchestration_worker (host, pid, started_at, lease_until)"
            " values (%s, %s, clock_timestamp(), clock_timestamp() + make_interval(secs => %s)) returning id",
            [pid_space(), os.getpid(), settings.WORKER_LEASE_SECONDS],
        )
        self._renewed_at = sent

    def run(self) -> None:
        use_own_connection()
        while not self.process.stopped.wait(settings.WORKER_HEARTBEAT_SECONDS):
            failpoints.reach("lease")
            try:
                self.renew()
            except Error as exc:
                self._late_at = boot_clock()
                log.warning("heartbeat_failed", error=str(exc).strip())
                connection.close()
        connection.close()

    def renew(self) -> None:
        sent = boot_clock()
        alive = rows(
            "update orchestration_worker set lease_until = clock_timestamp() + make_interval(secs => %s)"
            " where id = %s and dead_at is null returning id",
            [settings.WORKER_LEASE_SECONDS, self.process.worker_id],
        )
        if boot_clock() - self._renewed_at > settings.WORKER_LEASE_SECONDS / 2:
            self._late_at = boot_clock()
        if alive:
            self._renewed_at = sent
        else:
            log.warning("declared_dead", worker=self.process.worker_id)
            self.take()

    def give_up(self) -> None:
        rows(
            "update orchestration_worker set dead_at = clock_timestamp() where id = %s and dead_at is null",
            [self.process.worker_id],
        )


class Process:
    """The engine of one worker process: a recorder, walkers, a sweeper, a lease, a line writer and a listener, each a
    thread."""

    def __init__(self) -> None:
        self.worker_id = 0
        self.stopped = threading.Event()
        self.draining = threading.Event()
        self.lease = Lease(self)
        self.recorder = Recorder(self)
        self.sweeper = Sweeper(self)
        self.lines = LineWriter()
        self.listener = Listener(self)
        # One shelf for all walkers: one that is quick takes the next claim without another thread's waking up for it.
        self.shelf: queue.SimpleQueue[InHand | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._walkers = 0
        self._in_hand: set[InHand] = set()
        self._hung: set[InHand] = set()  # given up; their threads come back, or never
        self._owed: set[tuple[int, int, int]] = set()  # given to a walker, and not recorded yet
        self._empty = threading.Event()
        self._empty.set()

    def start(self) -> None:
        """Raises RuntimeError if the database is not fit for the engine."""
        assert_isolation()
        self.lease.take()
        connection.close()
        for thread in (self.lease, self.recorder, self.sweeper, self.lines, self.listener):
            thread.start()
        self.recorder.look()
        log.info(
            "engine_started", worker=self.worker_id, threads=settings.WORKER_THREADS, queues=settings.WORKER_QUEUES
        )

    def stop(self) -> None:
        """Drain: claim nothing more, let calls end within the grace time, hand back the rest, give the lease up."""
        self.draining.set()
        failpoints.reach("drain")
        self._empty.wait(settings.WORKER_DRAIN_SECONDS)
        with self._lock:
            for hand in self._in_hand:
                hand.canceled.set()
        self._empty.wait(1.0)
        self.stopped.set()
        self.recorder.look()
        self.sweeper.wake_within(0.0)
        self.recorder.join(5.0)
        self.lines.stop(LINES_SECONDS)
        try:
            use_own_connection()
            self.recorder.hand_back(self.owed(), begun=True)
            failpoints.reach("drained")
            self.lease.give_up()
            connection.close()
        except Error as exc:
            log.warning("lease_not_given_up", error=str(exc).strip())
        for _ in range(self._walkers):
            self.shelf.put(None)
        hints.drain(1.0)
        log.info("engine_stopped", worker=self.worker_id)

    def look(self, queue: str) -> None:
        """A hint came: claim; and sweep, if it may be an answer that came."""
        if queue == hints.ANSWERS:
            self.sweeper.wake_within(0.0)
        self.recorder.look()

    # --- walkers

    def free_walkers(self) -> int:
        return int(settings.WORKER_THREADS - len(self._in_hand))

    def begin(self, claim: Claim, after: InHand | None = None) -> None:
        """`after`: the recorded step whose place in hand this one takes.

        Reads nothing: what the recorder has claimed must reach a walker even if the database is gone by now.
        """
        hand = after.next(claim) if after else InHand(claim)
        with self._lock:
            if after:
                self._in_hand.discard(after)
            self._in_hand.add(hand)
            self._owed.add(hand.claim.place)
            self._empty.clear()
            another = self._walkers < len(self._in_hand) + len(self._hung)
            self._walkers += another
        self.shelf.put(hand)
        if another:
            Walker(self, self._walkers).start()

    def handed_in(self, hand: InHand) -> None:
        """From here on only the recorder is waited for: the call cannot hang any more."""
        with self._lock:
            hand.is_over = True
            self._hung.discard(hand)

    def finish(self, hand: InHand) -> None:
        """The outcome is recorded, and no next step of the run is done here."""
        with self._lock:
            self._in_hand.discard(hand)
            if not self._in_hand:
                self._empty.set()

    def goes_on(self, hand: InHand) -> bool:
        """Whether the run's next step is done here: not for ever while others wait."""
        if self.draining.is_set() or not self.lease.may_begin() or hand not in self._in_hand:
            return False
        return not self.recorder.more or (
            hand.in_a_row < STEPS_IN_A_ROW and time.monotonic() - hand.row_since < SECONDS_IN_A_ROW
        )

    def owed(self) -> set[tuple[int, int, int]]:
        """Places of the steps whose outcome this process still has to record, or to find."""
        with self._lock:
            return set(self._owed)

    def recorded(self, claim: Claim) -> None:
        with self._lock:
            self._owed.discard(claim.place)

    # --- calls that must stop

    def runs_in_hand(self) -> list[int]:
        with self._lock:
            return sorted({hand.claim.run for hand in self._in_hand})

    def ask_to_stop(self, runs: set[int]) -> None:
        with self._lock:
            for hand in self._in_hand:
                if hand.claim.run in runs:
                    hand.canceled.set()

    def give_up_hung(self) -> None:
        """A call long past its deadline is recorded as timed out; what its thread brings later is late."""
        now = time.monotonic()
        with self._lock:
            begun = list(self._in_hand)
        over = {hand for hand in begun if now - hand.since > hand.seconds + HUNG_GRACE_SECONDS}
        with self._lock:
            hung = {hand for hand in over & self._in_hand if not hand.is_over}
            self._in_hand -= hung
            self._hung |= hung
        for hand in hung:
            hand.canceled.set()
            agent = agent_of(hand.claim.agent_version).slug if hand.claim.agent_version else hand.claim.kind
            log.error("call_hung", run=hand.claim.public_id, step=hand.claim.name, agent=agent)
            message = f"{agent} did not answer within {hand.seconds:g} s, nor stop."
            outcome = timed_out(hand.claim, message)
            Voice(self.lines, hand.claim).tell_failure(outcome)
            self.recorder.ended(InHand(hand.claim), outcome)


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
