"""What steps say and hand out while they run: gathered from all walkers of a process, written by one thread of its own.

A step never waits for the database to say something. If lines and values come faster than they can be written, or the
database is gone, some are dropped, and a line says how many.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from django.db import DataError, Error, InterfaceError, InternalError, OperationalError, connection, transaction

from agents.calls import LEVELS
from orchestration.engine.connection import use_own_connection, value
from orchestration.engine.hints import hints
from orchestration.engine.outcomes import Claim, dump
from orchestration.engine.secrets import masked

log = structlog.get_logger(__name__)
WRITE, EMIT = (
    f"select {function}(%s::bigint[], %s::int[], %s::int[], %s::float8[], %s::text[], %s::text[])"
    for function in ("engine_log_v1", "engine_emit_v1")
)
GATHER_SECONDS = 0.1
LONGEST_LINE = LONGEST_VALUE = 65_536  # bytes
LONGEST_NAME = 100
TOO_FAST = "they came faster than they could be written"
NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_NAME}}}", re.ASCII)
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


class Value(NamedTuple):
    """Of a stream; `text` is its JSON."""

    run: int
    key: int
    attempt: int
    said: float
    name: str
    text: str


def value_text(name: str, content: Any) -> str:
    """Raises ValueError for what cannot be kept."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"A stream's name has letters, digits, _ and -, at most {LONGEST_NAME}; {name!r} is none.")
    text = dump(content)
    if len(text) > LONGEST_VALUE:
        raise ValueError(f"A value of the stream {name} has {len(text):,} bytes as JSON; at most {LONGEST_VALUE:,} go.")
    return text


def lines_of(text: str) -> list[str]:
    """As they are kept: one line each, without zero characters, halves of characters and secrets, none too long."""
    text = masked(text.replace("\0", "").replace("\r\n", "\n")).rstrip("\n")
    return [_cut(line) for line in text.split("\n")]


def _cut(line: str) -> str:
    encoded = line.encode(errors="replace")
    if len(encoded) <= LONGEST_LINE:
        return encoded.decode()
    return f"{encoded[:LONGEST_LINE].decode(errors='ignore')} … {len(encoded) - LONGEST_LINE} bytes cut"


def speaker_of(claim: Claim) -> tuple[int, int, int]:
    return claim.run, claim.key, claim.attempt


class LineWriter(threading.Thread):
    """The one thread of a process that writes lines, a batch in each transaction."""

    def __init__(self) -> None:
        super().__init__(name="lines", daemon=True)
        self._lock = threading.Condition()
        self._waiting: deque[Line | Value] = deque()
        self._bytes = 0
        self._dropped: dict[tuple[int, int, int, str], int] = {}
        self._said = 0  # how many of them were taken in, ever
        self._written = 0  # and how many of them are written, or given up
        self._hurry = False
        self._fails = False
        self._stops = False

    # --- called by other threads

    def say(self, claim: Claim, text: str, level: str = "info") -> None:
        """Never waits for the database, and never raises for what is said."""
        now = time.monotonic()
        level = level if level in LEVELS else "info"
        self._take("lines", [Line(*speaker_of(claim), now, level, line) for line in lines_of(str(text))])

    def emit(self, claim: Claim, name: str, content: Any) -> None:
        """Never waits for the database. Raises ValueError."""
        text = value_text(name, content)
        self._take("values", [Value(*speaker_of(claim), time.monotonic(), name, text)])

    def _take(self, what: str, taken: Sequence[Line | Value]) -> None:
        with self._lock:
            was_idle = not self._waiting and not self._dropped
            for line in taken:
                if len(self._waiting) >= MOST_LINES or self._bytes + len(line.text) > MOST_BYTES:
                    place = (*line[:3], what)
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

    def _gather(self) -> list[Line | Value]:
        """The next lines to write, the oldest first; none when the process stops and all is written."""
        with self._lock:
            self._lock.wait_for(lambda: self._waiting or self._dropped or self._stops)
            self._lock.wait_for(self._is_full_enough, GATHER_SECONDS)
            self._hurry = False
            batch: list[Line | Value] = []
            size = 0
            while self._waiting and len(batch) < BATCH_LINES and size < BATCH_BYTES:
                line = self._waiting.popleft()
                batch.append(line)
                size += len(line.text)
            self._bytes -= size
            if not self._waiting:
                now = time.monotonic()
                batch += [
                    Line(run, key, attempt, now, "warning", f"{count} {what} dropped: {TOO_FAST}")
                    for (run, key, attempt, what), count in self._dropped.items()
                ]
                self._said += len(self._dropped)
                self._dropped.clear()
            return batch

    def _is_full_enough(self) -> bool:
        return self._hurry or self._stops or len(self._waiting) >= BATCH_LINES

    def _write(self, batch: list[Line | Value]) -> None:
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

    def _insert(self, batch: list[Line | Value]) -> str:
        """The transaction's id."""
        now, transaction_id = time.monotonic(), ""
        for sql, kind in ((WRITE, Line), (EMIT, Value)):  # in the order of their locks
            rows = [(*line[:3], now - line.said, *line[4:]) for line in batch if isinstance(line, kind)]
            if rows:
                transaction_id = str(value(sql, [list(column) for column in zip(*rows, strict=True)]))
        return transaction_id

    def _is_committed(self, transaction_id: str) -> bool:
        """What became of a transaction whose commit got no answer; waits for one that is still at it. A server that has
        crashed may never have heard of it."""
        try:
            while (status := value("select pg_xact_status(%s::xid8)", [transaction_id])) == "in progress":
                time.sleep(FIRST_PAUSE_SECONDS)
        except DataError:  # its id is in the future
            return False
        return bool(status == "committed")
