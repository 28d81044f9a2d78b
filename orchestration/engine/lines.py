"""What steps say while they run: gathered from all walkers of a process, written by one thread of its own.

A step never waits for the database to say something. If lines come faster than they can be written, or the database is
gone, some are dropped, and a line says how many.
"""

import threading
import time
from collections import deque
from typing import NamedTuple

import structlog
from django.db import DataError, Error, InterfaceError, InternalError, OperationalError, connection, transaction

from agents.calls import LEVELS
from orchestration.engine.connection import use_own_connection, value
from orchestration.engine.hints import hints
from orchestration.engine.outcomes import Claim
from orchestration.engine.secrets import masked

log = structlog.get_logger(__name__)
WRITE = "select engine_log_v1(%s::bigint[], %s::int[], %s::int[], %s::float8[], %s::text[], %s::text[])"
GATHER_SECONDS = 0.1
LONGEST_LINE = 65_536  # bytes
MOST_LINES, MOST_BYTES = 20_000, 16_000_000  # that wait to be written
BATCH_LINES, BATCH_BYTES = 2_000, 4_000_000
FLUSH_SECONDS = 0.5  # how long a step's end waits for its lines
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0


class Line(NamedTuple):
    run: int
    key: int
    attempt: int
    said: float  # by time.monotonic
    level: str
    text: str


def lines_of(text: str) -> list[str]:
    """As they are kept: one line each, without zero characters, halves of characters and secrets, none too long."""
    text = masked(text.replace("\0", "").replace("\r\n", "\n")).rstrip("\n")
    return [_cut(line) for line in text.split("\n")]


def _cut(line: str) -> str:
    encoded = line.encode(errors="replace")
    if len(encoded) <= LONGEST_LINE:
        return encoded.decode()
    return f"{encoded[:LONGEST_LINE].decode(errors='ignore')} … {len(encoded) - LONGEST_LINE} bytes cut"


class LineWriter(threading.Thread):
    """The one thread of a process that writes lines, a batch in each transaction."""

    def __init__(self) -> None:
        super().__init__(name="lines", daemon=True)
        self._lock = threading.Condition()
        self._waiting: deque[Line] = deque()
        self._bytes = 0
        self._dropped: dict[tuple[int, int, int], int] = {}
        self._said = 0  # how many lines were taken in, ever
        self._written = 0  # and how many of them are written, or given up
        self._hurry = False
        self._fails = False
        self._stops = False

    # --- called by other threads

    def say(self, claim: Claim, text: str, level: str = "info") -> None:
        """Never waits for the database, and never raises for what is said."""
        now = time.monotonic()
        level = level if level in LEVELS else "info"
        lines = [Line(claim.run, claim.key, claim.attempt, now, level, line) for line in lines_of(str(text))]
        with self._lock:
            was_idle = not self._waiting and not self._dropped
            for line in lines:
                if len(self._waiting) >= MOST_LINES or self._bytes + len(line.text) > MOST_BYTES:
                    place = line[:3]
                    self._dropped[place] = self._dropped.get(place, 0) + 1
                else:
                    self._waiting.append(line)
                    self._bytes += len(line.text)
                    self._said += 1
            if was_idle or len(self._waiting) >= BATCH_LINES:
                self._lock.notify_all()

    def flush(self) -> None:
        """Wait until what was said so far is written: shortly, and not at all while the database fails."""
        with self._lock:
            upto = self._said
            self._hurry = True
            self._lock.notify_all()
            if not self._lock.wait_for(lambda: self._written >= upto or self._fails, FLUSH_SECONDS):
                self._fails = True  # the next step does not wait for it again

    def stop(self, seconds: float) -> None:
        """Write what is left, at most so long."""
        with self._lock:
            self._stops = True
            self._lock.notify_all()
        if self.is_alive():
            self.join(seconds)

    # --- its own thread

    def run(self) -> None:
        use_own_connection()  # it opens with the first line
        while batch := self._gather():
            try:
                self._write(batch)
            except Exception:  # the top of the thread: these are lost, and the next ones are written
                log.exception("lines_not_written", lines=len(batch))
                connection.close()
            with self._lock:
                self._written += len(batch)
                self._fails = False
                self._lock.notify_all()
            hints.logged({line.run for line in batch})
        connection.close()

    def _gather(self) -> list[Line]:
        """The next lines to write, the oldest first; none when the process stops and all is written."""
        with self._lock:
            self._lock.wait_for(lambda: self._waiting or self._dropped or self._stops)
            self._lock.wait_for(self._is_full_enough, GATHER_SECONDS)
            self._hurry = False
            batch: list[Line] = []
            size = 0
            while self._waiting and len(batch) < BATCH_LINES and size < BATCH_BYTES:
                line = self._waiting.popleft()
                batch.append(line)
                size += len(line.text)
            self._bytes -= size
            if not self._waiting:
                now = time.monotonic()
                batch += [
                    Line(*place, now, "warning", f"{count} lines dropped: they came faster than they could be written")
                    for place, count in self._dropped.items()
                ]
                self._said += len(self._dropped)
                self._dropped.clear()
            return batch

    def _is_full_enough(self) -> bool:
        return self._hurry or self._stops or len(self._waiting) >= BATCH_LINES

    def _write(self, batch: list[Line]) -> None:
        """Once, however often the connection is lost; a batch that the database refuses is given up."""
        pause = FIRST_PAUSE_SECONDS
        transaction_id = None
        while True:
            try:
                if transaction_id is not None and self._is_committed(transaction_id):
                    return
                transaction_id = None
                with transaction.atomic():
                    transaction_id = self._insert(batch)
                return
            except Error as exc:
                connection.close()
                if not isinstance(exc, OperationalError | InterfaceError | InternalError):
                    log.error("lines_not_written", error=str(exc).strip(), lines=len(batch))
                    return
                log.warning("lines_wait", error=str(exc).strip(), lines=len(batch))
                with self._lock:
                    self._fails = True
                    self._lock.notify_all()
                    if self._stops:
                        return
                    self._lock.wait_for(lambda: self._stops, pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _insert(self, batch: list[Line]) -> str:
        now = time.monotonic()
        columns = zip(*((*line[:3], now - line.said, line.level, line.text) for line in batch), strict=True)
        return str(value(WRITE, [list(column) for column in columns]))

    def _is_committed(self, transaction_id: str) -> bool:
        """What became of a transaction whose commit got no answer; waits for one that is still at it. A server that has
        crashed may never have heard of it."""
        try:
            while (status := value("select pg_xact_status(%s::xid8)", [transaction_id])) == "in progress":
                time.sleep(FIRST_PAUSE_SECONDS)
        except DataError:  # its id is in the future
            return False
        return bool(status == "committed")
