import math
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import Error, connection

from orchestration.engine import failpoints
from orchestration.engine.connection import rows, value
from orchestration.engine.recovery import OWNED
from orchestration.engine.vital import Vital

if TYPE_CHECKING:
    from orchestration.engine.process import Process

log = structlog.get_logger(__name__)
COMPARING_SHARE = 1 / 300  # of the time: with an old snapshot a look passes all that the worker had since


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
class Life:
    """What the process does under one worker row, until that row is declared dead. A claim belongs to the life that
    made it: whatever lives the process has later, the call is not theirs to begin."""

    id: int
    renewed_at: float  # by the boot clock, before the last heartbeat was sent
    is_over: bool = False

    def may_begin(self) -> bool:
        """Whether a third of the lease is left."""
        return not self.is_over and boot_clock() - self.renewed_at < settings.WORKER_LEASE_SECONDS * 2 / 3


class Lease(Vital):
    """Renews the process's lease, one update a heartbeat. A life declared dead is over: the next takes a new row."""

    def __init__(self, process: "Process") -> None:
        super().__init__("lease")
        self.process = process
        self.life = Life(0, -math.inf)
        self.ids: list[int] = []  # of all lives
        self.compare_at = -math.inf
        self.doubtful_until = -math.inf

    def take(self) -> None:
        sent = boot_clock()
        worker = value(
            "insert into orchestration_worker (host, pid, started_at, lease_until, fit_from)"
            " select %s, %s, now, now + lease, now + lease"
            " from (select clock_timestamp() as now, make_interval(secs => %s) as lease) t returning id",
            [pid_space(), os.getpid(), settings.WORKER_LEASE_SECONDS],
        )
        failpoints.reach("taken")
        self.ids.append(worker)
        self.life = Life(worker, sent)

    def work(self) -> None:
        while not self.process.stopped.wait(settings.WORKER_HEARTBEAT_SECONDS):
            failpoints.reach("lease")
            try:
                self.renew()
                self._compare()
            except Error as exc:
                log.warning("heartbeat_failed", error=str(exc).strip())
                connection.close()

    def renew(self) -> None:
        """After a late one nobody is declared dead for a lease: a database that was away kept everybody's."""
        life = self.life
        sent = boot_clock()
        alive = rows(
            "update orchestration_worker set lease_until = now + lease,"
            " fit_from = case when lease_until < now + lease / 2 then now + lease else fit_from end"
            " from (select clock_timestamp() as now, make_interval(secs => %s) as lease) t"
            " where id = %s and dead_at is null returning id",
            [settings.WORKER_LEASE_SECONDS, life.id],
        )
        if alive:
            life.renewed_at = sent
            return
        life.is_over = True
        log.warning("declared_dead", worker=life.id)
        self.process.hands.ask_to_stop(lambda hand: hand.life is life)
        if not self.process.stopped.is_set():
            self.take()

    def _compare(self) -> None:
        """The server may have begun a claim after the recorder, its connection lost, had looked for it."""
        began = time.monotonic()
        if self.doubtful_until < began < self.compare_at:
            return
        known = self.process.hands.owed()  # first: what ends meanwhile is in the rows no more, or known
        old = f"{OWNED} and started_at < clock_timestamp() - make_interval(secs => %s)"
        if set(rows(old, [[self.life.id], settings.WORKER_HEARTBEAT_SECONDS])) - known:
            self.process.recorder.look_for_lost_claims()
        now = time.monotonic()
        self.compare_at = now + min((now - began) / COMPARING_SHARE, settings.WORKER_LEASE_SECONDS)

    def doubt(self) -> None:
        """A connection was lost: for a lease, each heartbeat compares."""
        self.doubtful_until = time.monotonic() + settings.WORKER_LEASE_SECONDS

    def give_up(self) -> None:
        rows(
            "update orchestration_worker set dead_at = clock_timestamp() where id = %s and dead_at is null",
            [self.life.id],
        )
