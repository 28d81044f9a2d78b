"""Who looks at a page is told that there is news, and up to which number; the page then fetches what changed.

One watch in a process serves all its pages on one borrowed connection: 200 open pages cost none of their own. Hints say
where to look; a slow look at everything that is watched finds what a lost hint left out, and who may look no more.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import structlog
from django.db import connection

from accounts import visits
from accounts.visits import Visit
from orchestration.engine.hints import CHANGED, LOGGED
from orchestration.feeds.hearing import heard

log = structlog.get_logger(__name__)
LOOK_SECONDS = 2.0  # how late news may be without a hint
PAUSE_SECONDS = 0.05  # between two looks: what is hinted meanwhile comes together
KNOWN_RUNS = 10_000
KINDS = ("run", "log", "organization")

RUNS = "select id, seq from orchestration_run where id = any(%s)"
# A page of a log shows the run's state, too: its number grows with both.
LOGS = """
select r.id, r.seq + coalesce(h.number, 0) from orchestration_run r
left join orchestration_loghead h on h.run_id = r.id where r.id = any(%s)
"""
ORGANIZATIONS = "select id, organization_id from orchestration_run where id = any(%s)"
# What changes with nearly everything that people see in lists; reads indexes of what is open and of the newest. Sums of
# hashes: one that ends and one that comes between two looks leave counts, sums and the largest key as they were.
STATES = """
select o.id, concat_ws(' ',
    (select sum(hashint8extended(r.id, r.seq)) from orchestration_run r
     where r.organization_id = o.id and r.ended_at is null),
    (select r.id from orchestration_run r where r.organization_id = o.id order by r.created_at desc, r.id desc limit 1),
    (select sum(hashint8extended(q.id, 0)) from approvals_request q
     where q.organization_id = o.id and q.status = 'pending'),
    (select sum(hashint8extended(d.id, d.current_version_id)) from orchestration_definition d
     where d.organization_id = o.id),
    (select sum(hashint8extended(a.id, a.current_version_id)) from agents_agent a where a.organization_id = o.id))
from unnest(%s::bigint[]) as o(id)
"""


class Topic(NamedTuple):
    """`kind` is run, whose numbers are its events'; log, whose numbers grow with its lines and its events; or
    organization, whose numbers only tell that something changed."""

    kind: str
    id: int


class Place:
    """Where one topic stands, and who waits for it to move."""

    def __init__(self) -> None:
        self.number: int | None = None  # not looked at yet
        self.state = ""
        self.pages: set[Page] = set()

    def move(self, number: int) -> None:
        if number != self.number:
            self.number = number
            for page in self.pages:
                page.moved.set()


class Over(Exception):
    """Who looks may look no more."""


class Page:
    """One open page of whoever came by this visit. What it is told first is where the topic stands."""

    def __init__(self, place: Place, visit: Visit) -> None:
        self.place = place
        self.visit = visit
        self.moved = asyncio.Event()
        self.is_over = False

    async def number(self, seconds: float) -> int | None:
        """The number when it has moved; as it is after so many seconds; None if it was never looked up. Raises Over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.moved.wait(), seconds)
        if self.is_over:
            raise Over
        self.moved.clear()
        return self.place.number


class Watch:
    """Of one event loop: starts with its first page, and stays."""

    def __init__(self) -> None:
        self._places: dict[Topic, Place] = {}
        self._due: set[Topic] = set()
        self._hinted: set[int] = set()  # runs of which nobody here knows whose they are
        self._of_run: dict[int, int] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pages(self) -> int:
        return sum(len(place.pages) for place in list(self._places.values()))

    @contextlib.asynccontextmanager
    async def watching(self, topic: Topic, visit: Visit) -> AsyncIterator[Page]:
        place = self._places.setdefault(topic, Place())
        page = Page(place, visit)
        place.pages.add(page)
        if place.number is None and topic.kind == "organization":
            place.number = changed_number(None)
        if place.number is None:
            self._look_at([topic])
        else:
            page.moved.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._hear())]
        try:
            yield page
        finally:
            place.pages.discard(page)
            if not place.pages and self._places.get(topic) is place:
                del self._places[topic]

    def _look_at(self, topics: Iterable[Topic]) -> None:
        self._due.update(topics)
        if self._due:
            self._wake.set()

    async def _hear(self) -> None:
        async for channel, runs in heard(CHANGED, LOGGED):
            for run in runs:
                self._look_at({Topic("log", run)} & self._places.keys())
                if channel == CHANGED:
                    self._note(run)

    def _note(self, run: int) -> None:
        self._look_at({Topic("run", run)} & self._places.keys())
        if run in self._of_run:
            self._look_at({Topic("organization", self._of_run[run])} & self._places.keys())
        elif any(topic.kind == "organization" for topic in self._places):
            self._hinted.add(run)
            self._wake.set()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="news")
        looked_at_all = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
            self._wake.clear()
            is_full = loop.time() - looked_at_all >= LOOK_SECONDS
            if is_full:
                looked_at_all = loop.time()
            due = set(self._places) if is_full else self._due & self._places.keys()
            hinted, self._due, self._hinted = self._hinted, set(), set()
            came = {page.visit for place in self._places.values() for page in place.pages} if is_full else set()
            of_kind = {kind: [topic.id for topic in due if topic.kind == kind] for kind in KINDS}
            if not is_full:
                of_kind["organization"] = []  # the hint tells enough
            if not due and not hinted:
                continue
            try:
                found = await loop.run_in_executor(thread, look, of_kind, list(hinted), came)
            except Exception:  # at the top of the task: the next look comes
                log.exception("news_not_read")
            else:
                self._tell(due, found)
            await asyncio.sleep(PAUSE_SECONDS)

    def _tell(self, due: set[Topic], found: "Found") -> None:
        for page in [page for place in self._places.values() for page in place.pages if page.visit in found.over]:
            page.is_over = True
            page.moved.set()
        for topic, number in found.numbers.items():
            if topic in self._places:
                self._places[topic].move(number)
        if len(self._of_run) > KNOWN_RUNS:
            self._of_run.clear()
        self._of_run.update(found.organizations)
        touched = {Topic("organization", organization) for organization in found.organizations.values()}
        for topic in due | touched:
            place = self._places.get(topic)
            if place is None or topic.kind != "organization":
                continue
            state = found.states.get(topic.id)
            if state is None or state != place.state:
                place.move(changed_number(place.number))
            if state is not None:
                place.state = state


class Found(NamedTuple):
    numbers: dict[Topic, int]
    organizations: dict[int, int]
    states: dict[int, str]
    over: set[Visit]


def look(of_kind: dict[str, list[int]], hinted: list[int], came: Collection[Visit]) -> Found:
    """One borrowed connection, given back; a statement for each kind that is asked for."""
    try:
        numbers = {
            Topic(kind, run): number
            for kind, sql in (("run", RUNS), ("log", LOGS))
            for run, number in pairs(sql, of_kind[kind]).items()
        }
        states = pairs(STATES, of_kind["organization"])
        return Found(numbers, pairs(ORGANIZATIONS, hinted), states, visits.over(came))
    finally:
        connection.close()


def pairs(sql: str, ids: list[int]) -> dict[int, Any]:
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(sql, [ids])
        return dict(cursor.fetchall())


def changed_number(last: int | None) -> int:
    """Milliseconds of our clock: another process's number is another one, too."""
    return max((last or 0) + 1, time.time_ns() // 1_000_000)


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def open_pages() -> int:
    """How many pages are live by this process."""
    return sum(watch.pages for watch in list(_watches.values()))


def watch_here() -> Watch:
    """The running loop's watch."""
    return _watches.setdefault(asyncio.get_running_loop(), Watch())
