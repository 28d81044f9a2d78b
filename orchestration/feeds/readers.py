"""One reader in a process reads the events of all runs that anyone here listens to, on one connection; another one the
values of their streams.

A hint on the Redis channel says which runs have new ones; a slow poll finds what a lost hint left out. A listener
takes them in order from where it is: the reader gives it those after its last one, so nothing is lost or doubled,
and one that is slow is passed over until it has room again, then read for from where it stands.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import structlog
from django.db import connection

from orchestration.engine.hints import CHANGED, LOGGED
from orchestration.feeds.hearing import heard

log = structlog.get_logger(__name__)
POLL_SECONDS = 1.0
ROOM = 500  # events that wait for a slow listener
NUMBERED = ("seq", "number")  # events, values
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
# Values of a step are written before its end.
NEWER_VALUES = """
select place.run, place.name, place.number, run.ended_at is not null, found.number, found.at, step.name, step.round, step.index,
       found.attempt, found.value
from unnest(%s::bigint[], %s::text[], %s::int[]) as place(run, name, number)
join orchestration_run run on run.id = place.run
left join lateral (
    select v.number, v.at, v.key, v.attempt, v.value from orchestration_streamvalue v
    where v.run_id = place.run and v.name = place.name and v.number > place.number order by v.number limit %s
) found on true
left join orchestration_step step on step.run_id = place.run and step.key = found.key
order by place.run, place.name, place.number, found.number
"""  # noqa: E501
Place = tuple[int, str, int]  # a run, the name of its stream, and the last number that is known
Newer = dict[Place, tuple[list[dict[str, Any]], bool]]


class Listener:
    """One open stream, of the values under a `name`, or of events. `position` is the last that it was given;
    `is_finished`, that the run ended with it."""

    def __init__(self, run: int, position: int, name: str) -> None:
        self.run = run
        self.name = name
        self.position = position
        self.is_finished = False
        self.was_passed_over = False
        self.waiting: deque[dict[str, Any]] = deque()
        self.news = asyncio.Event()

    @property
    def place(self) -> Place:
        return (self.run, self.name, self.position)

    @property
    def is_hungry(self) -> bool:
        return not self.waiting and not self.is_finished

    def give(self, events: Iterable[dict[str, Any]], *, is_finished: bool) -> None:
        for event in events:
            self.waiting.append(event)
            self.position = event[NUMBERED[bool(self.name)]]
        self.is_finished = is_finished
        if self.waiting or self.is_finished:
            self.news.set()


class Reader:
    """Of one event loop: starts with its first listener and ends with its last."""

    def __init__(self, channel: str, newer: Callable[[list[Place]], Newer]) -> None:
        self._channel = channel
        self._newer = newer
        self._listeners: dict[int, set[Listener]] = {}
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def listeners(self) -> int:
        return sum(len(listeners) for listeners in list(self._listeners.values()))

    @contextlib.asynccontextmanager
    async def listening(self, run: int, after: int, name: str = "") -> Any:
        listener = Listener(run, after, name)
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
                places = sorted({listener.place for listener in hungry})
                try:
                    found = await loop.run_in_executor(thread, self._newer, places)
                except Exception:  # at the top of the task: the poll comes again
                    log.exception("feed_not_read")
                    continue
                for listener in hungry:
                    events, has_ended = found.get(listener.place, ([], False))
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
        async for _, runs in heard(self._channel):
            self.look_at(runs)


def newer_events(places: list[Place]) -> Newer:
    """By place: the events after it, at most ROOM, and whether the run has ended. Gives its connection back."""
    found: Newer = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute(NEWER, [[run for run, _, _ in places], [seq for _, _, seq in places], ROOM])
            for run, after, has_ended, seq, kind, at, data in cursor.fetchall():
                events, _ = found.setdefault((run, "", after), ([], has_ended))
                if seq is not None:
                    events.append({"seq": seq, "type": kind, "at": at, **(json.loads(data) if data else {})})
    finally:
        connection.close()
    return found


def newer_values(places: list[Place]) -> Newer:
    """By place: the values after it, as `newer_events` gives events."""
    found: Newer = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute(NEWER_VALUES, [*(list(column) for column in zip(*places, strict=True)), ROOM])
            for run, name, after, has_ended, number, at, step, round_, index, attempt, content in cursor.fetchall():
                values, _ = found.setdefault((run, name, after), ([], has_ended))
                if number is not None:
                    told = {"number": number, "at": at, "step": step, "round": round_, "index": index}
                    values.append({**told, "attempt": attempt, "value": json.loads(content)})
    finally:
        connection.close()
    return found


class Readers(NamedTuple):
    """Of one event loop."""

    events: Reader
    values: Reader


_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, Readers] = WeakKeyDictionary()


def open_streams() -> int:
    """How many listeners this process has."""
    return sum(reader.listeners for readers in list(_readers.values()) for reader in readers)


def readers_here() -> Readers:
    """Those of the running loop."""
    new = Readers(Reader(CHANGED, newer_events), Reader(LOGGED, newer_values))
    return _readers.setdefault(asyncio.get_running_loop(), new)
