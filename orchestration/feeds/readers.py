"""One reader in a process reads the events of all runs that anyone here listens to, on one connection.

A hint on the Redis channel says which runs have new events; a slow poll finds what a lost hint left out. A listener
takes events in order from where it is: the reader gives it those after its last one, so nothing is lost or doubled,
and one that is slow is passed over until it has room again, then read for from where it stands.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from django.db import connection

from orchestration.engine.hints import CHANGED
from orchestration.feeds.hearing import heard

log = structlog.get_logger(__name__)
POLL_SECONDS = 1.0
ROOM = 500  # events that wait for a slow listener
# A run's end is written with its last events, and one statement sees both or neither.
NEWER = """
select place.run, place.seq, run.ended_at is not null, event.seq, event.type, event.at, event.data
from unnest(%s::bigint[], %s::int[]) as place(run, seq)
join orchestration_run run on run.id = place.run
left join lateral (
    select e.seq, e.type, e.at, e.data from orchestration_event e
    where e.run_id = place.run and e.seq > place.seq order by e.seq limit %s
) event on true
order by place.run, place.seq, event.seq
"""


class Listener:
    """One open stream. `position` is the last event it was given; `is_finished`, that the run ended with it."""

    def __init__(self, run: int, position: int) -> None:
        self.run = run
        self.position = position
        self.is_finished = False
        self.was_passed_over = False
        self.waiting: deque[dict[str, Any]] = deque()
        self.news = asyncio.Event()

    @property
    def is_hungry(self) -> bool:
        return not self.waiting and not self.is_finished

    def give(self, events: Iterable[dict[str, Any]], *, is_finished: bool) -> None:
        for event in events:
            self.waiting.append(event)
            self.position = event["seq"]
        self.is_finished = is_finished
        if self.waiting or self.is_finished:
            self.news.set()


class Reader:
    """Of one event loop: starts with its first listener and ends with its last."""

    def __init__(self) -> None:
        self._listeners: dict[int, set[Listener]] = {}
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def listeners(self) -> int:
        return sum(len(listeners) for listeners in list(self._listeners.values()))

    @contextlib.asynccontextmanager
    async def listening(self, run: int, after: int) -> Any:
        listener = Listener(run, after)
        self._listeners.setdefault(run, set()).add(listener)
        self.look_at([run])
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._hear())]
        try:
            yield listener
        finally:
            self._listeners[run].discard(listener)
            if not self._listeners[run]:
                del self._listeners[run]
            if not self._listeners:
                for task in self._tasks:
                    task.cancel()
                self._tasks = []

    def look_at(self, runs: Iterable[int]) -> None:
        self._due.update(self._listeners.keys() & set(runs))
        if self._due:
            self._wake.set()

    async def take(self, listener: Listener, seconds: float) -> list[dict[str, Any]]:
        """What came for it; nothing after so many seconds without."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(listener.news.wait(), seconds)
        taken = list(listener.waiting)
        listener.waiting.clear()
        if not listener.is_finished:
            listener.news.clear()
        if len(taken) == ROOM or listener.was_passed_over:
            listener.was_passed_over = False
            self.look_at([listener.run])
        return taken

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="feed") as thread:
            while True:
                try:
                    await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
                except TimeoutError:
                    self.look_at(list(self._listeners))
                self._wake.clear()
                due, self._due = self._due, set()
                hungry = self._hungry(due)
                if not hungry:
                    continue
                places = sorted({(listener.run, listener.position) for listener in hungry})
                try:
                    found = await loop.run_in_executor(thread, newer, places)
                except Exception:  # at the top of the task: the poll comes again
                    log.exception("feed_not_read")
                    continue
                for listener in hungry:
                    events, has_ended = found.get((listener.run, listener.position), ([], False))
                    listener.give(events, is_finished=has_ended and len(events) < ROOM)

    def _hungry(self, runs: Iterable[int]) -> list[Listener]:
        hungry = []
        for run in runs:
            for listener in self._listeners.get(run, ()):
                if listener.is_hungry:
                    hungry.append(listener)
                else:
                    listener.was_passed_over = True
        return hungry

    async def _hear(self) -> None:
        async for _, runs in heard(CHANGED):
            self.look_at(runs)


def newer(places: list[tuple[int, int]]) -> dict[tuple[int, int], tuple[list[dict[str, Any]], bool]]:
    """By (run, seq): the events after it, at most ROOM, and whether the run has ended. Gives its connection back."""
    found: dict[tuple[int, int], tuple[list[dict[str, Any]], bool]] = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute(NEWER, [[run for run, _ in places], [seq for _, seq in places], ROOM])
            for run, after, has_ended, seq, kind, at, data in cursor.fetchall():
                events, _ = found.setdefault((run, after), ([], has_ended))
                if seq is not None:
                    events.append({"seq": seq, "type": kind, "at": at, **(json.loads(data) if data else {})})
    finally:
        connection.close()
    return found


_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, Reader] = WeakKeyDictionary()


def open_streams() -> int:
    """How many listeners this process has."""
    return sum(reader.listeners for reader in list(_readers.values()))


def reader_here() -> Reader:
    """The running loop's reader."""
    return _readers.setdefault(asyncio.get_running_loop(), Reader())
