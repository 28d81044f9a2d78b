import dataclasses
import itertools
import json
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.db import Error, transaction

from orchestration.engine import failpoints
from orchestration.engine.charges import charge_of
from orchestration.engine.connection import array, rows
from orchestration.engine.hints import hints
from orchestration.engine.outcomes import (
    UNDO,
    Claim,
    Item,
    NotPrepared,
    NotRecordable,
    Outcome,
    encode,
    failed,
    store_payloads,
)
from orchestration.engine.patient import PatientRecorder
from orchestration.engine.recovery import FLUSH, Recovery
from orchestration.engine.vital import Vital
from orchestration.language.plan import HIGHEST_LEVEL

if TYPE_CHECKING:
    from orchestration.engine.hands import InHand
    from orchestration.engine.lease import Life
    from orchestration.engine.process import Process

log = structlog.get_logger(__name__)
FLUSH_ONE = f"select * from engine_flush_one_v1(%s, %s, %s::jsonb, %s::text[], {HIGHEST_LEVEL})"  # noqa: S608
LOCK_WORKER = "select from orchestration_worker where id = %s and dead_at is null for key share"
LOCK_RUN = "select id from orchestration_run where id = %s for no key update"
LOCK_FREE_RUN = f"{LOCK_RUN} skip locked"
HELD = "select key from orchestration_step where run_id = %s and key = %s and fence = %s and status = 'running'"
GOES_ON = ("waiting", "ready", "uncertain")  # of an item: unless its head has ended
LARGEST_BATCH = 100
FIRST_CLAIM = 16  # and twice as many each time that there was as much: what comes at once is shared with other workers
PATIENCE_SECONDS = 0.05  # an item whose run is locked elsewhere goes into the next batches so long, then waits alone
LOCKED_PAUSE_SECONDS, LONGEST_LOCKED_PAUSE_SECONDS = 0.002, 0.016  # twice as long each time that nothing came of it
GATHER_SECONDS = 0.003  # a batch waits so long for steps whose walkers are only waiting for the processor


@dataclasses.dataclass(slots=True, eq=False)
class Ended:
    """A try that is to be recorded. `outcome` None: there is nothing to record."""

    number: int
    hand: "InHand"
    outcome: Outcome | None
    follow: bool
    item: Item | None
    since: float
    is_refused: bool = False  # by the database, as it came from the call

    @property
    def claim(self) -> Claim:
        return self.hand.claim

    @property
    def prepare(self) -> Callable[[], Mapping[str, Any]] | None:
        return self.outcome.prepare if self.outcome is not None else None

    def replace(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.make_item()

    def make_item(self, **more: Any) -> None:
        """`more`: fields beside the outcome's. What could not be undone does not just fail: a person is asked."""
        if self.outcome is not None:
            if self.claim.kind == UNDO and self.outcome.becomes == "failed":
                self.outcome = dataclasses.replace(self.outcome, becomes="uncertain")
            if rare := rare_of(self.claim, self.outcome):
                more["more"] = {**rare, **self.outcome.fields.get("more", {}), **more.get("more", {})}
            self.item = encode(self.claim.place, "running", self.outcome, **more)

    @property
    def is_plain(self) -> bool:
        """One that just completed, whose run goes on here."""
        return self.follow and self.outcome is not None and self.outcome.becomes == "completed" and self.prepare is None

    @property
    def text(self) -> str:
        if self.item is None:
            raise ValueError("nothing is to be recorded")
        return f'{{"n":{self.number},{self.item.text}}}'


class Recorder(Vital):
    """The one thread of a process that ends steps and claims the next.

    All that came since its last commit goes into one round trip and one commit. Alone there is nothing to wait for;
    under load the batches grow by themselves.
    """

    def __init__(self, process: "Process") -> None:
        super().__init__("recorder")
        self.process = process
        self.inbox: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()  # None: look for work, or stop
        self.more = False  # steps may be ready that nobody took
        self._hint = object()  # another one with each hint
        self._numbers = itertools.count(1)
        self._locked: list[Ended] = []  # their runs were, a moment ago
        self._alone: deque[Ended] = deque()  # each is flushed by itself
        self._is_doubtful = False  # this process may own a step of which it does not know
        self._stride = FIRST_CLAIM
        self._locked_pause = LOCKED_PAUSE_SECONDS
        self._claims_no_more = threading.Event()
        self._elsewhere = False  # what is ready belongs to runs that another process has locked at this moment
        self.patient = PatientRecorder(self)
        self._recovery = Recovery(
            process, flush=self.flush, settled=self.settled, keep=self.patient.waiting.put, claims=True
        )

    # --- called by other threads

    def ended(self, hand: "InHand", outcome: Outcome | None) -> None:
        """Hand in what became of a claimed step."""
        follow = outcome is not None and self.process.goes_on(hand)
        ended = Ended(next(self._numbers), hand, outcome, follow, None, time.monotonic())
        try:
            ended.make_item()
        except NotRecordable as exc:
            ended.replace(failed("permanent", str(exc)))
        self.process.hands.handed_in(hand)
        self.inbox.put(ended)

    def look(self) -> None:
        """Steps may have become ready: claim for the walkers that are free."""
        self._hint = object()  # first: see _dispatch
        self.more = True
        self.inbox.put(None)

    def look_for_lost_claims(self) -> None:
        """Compare what the rows say this process owns with what it knows of: between two batches, when it knows all
        that it has claimed."""
        self._is_doubtful = True
        self.inbox.put(None)

    def wait_until_it_claims_no_more(self, seconds: float) -> None:
        """While the process drains: what it was about to claim is in hand then."""
        self.inbox.put(None)
        self._claims_no_more.wait(seconds)

    # --- its own thread

    def work(self) -> None:
        self.patient.start()
        while not (self.process.stopped.is_set() and self.inbox.empty() and not self._locked and not self._alone):
            if self.process.draining.is_set():
                self._claims_no_more.set()
            batch = self._gather()
            if self._is_doubtful:
                self._is_doubtful = False
                self._recovery.write([], is_doubtful=True)
            if batch or self._alone or self._wanted():
                self._record(batch)
        self.patient.waiting.put(None)

    def _gather(self) -> list[Ended]:
        """What came since the last commit; waits for the first, unless there is something to do at once."""
        batch, self._locked = self._locked, []
        came: list[Ended | None] = []
        try:
            if batch or (self._elsewhere and self._wanted()):
                came.append(self.inbox.get(timeout=self._locked_pause))
            elif not self._wanted() and not self._alone:
                came.append(self.inbox.get())
            last = time.monotonic() + GATHER_SECONDS
            while len(batch) + len(came) < LARGEST_BATCH:
                # What lies on the shelf is as good as done, unless its calls wait; then walkers take it at once.
                left = 0.0 if self.process.hands.shelf.empty() else last - time.monotonic()
                came.append(self.inbox.get(timeout=left) if left > 0 else self.inbox.get_nowait())
        except queue.Empty:
            pass
        return batch + [ended for ended in came if ended is not None]

    def _wanted(self) -> int:
        if not self.more or self.process.draining.is_set() or not self.process.lease.life.may_begin():
            return 0
        return min(self._stride, self.process.hands.free())

    def _record(self, batch: list[Ended]) -> None:
        self.settled([ended for ended in batch if ended.item is None])
        self._alone += [ended for ended in batch if ended.prepare is not None]
        together = [ended for ended in batch if ended.item is not None and ended.prepare is None]
        if together or self._wanted():
            self._recovery.write(together)
        if self._alone:  # one between two batches: each costs several round trips
            self._recovery.write([self._alone.popleft()])

    def flush(self, batch: list[Ended], *, patient: bool = False) -> None:
        """One round trip and one commit, unless there are large values; and one item in several, if it has rows of its
        own (`prepare`)."""
        if batch:
            failpoints.reach("flush")
        payloads = [payload for ended in batch if ended.item for payload in ended.item.payloads]
        if payloads:
            store_payloads(payloads)
            failpoints.reach("payloads")
        life = self.process.lease.life
        if batch and batch[0].prepare is not None:
            self._flush_prepared(batch[0], life, patient)
        else:
            wanted, hint = (0 if patient else self._wanted()), self._hint
            self._dispatch(batch, self._call(batch, life, wanted, patient), life, wanted, hint)

    def _flush_prepared(self, ended: Ended, life: "Life", patient: bool) -> None:
        with transaction.atomic():
            found = self._prepare_and_call(ended, life, patient)
            is_canceled = any(row[1] == "canceled" for row in found)
            # A run that is canceling holds nothing open: what was prepared goes, and the step just ends.
            transaction.set_rollback(is_canceled)
        if is_canceled:
            ended.replace(Outcome("canceled"))
            self.inbox.put(ended)
        else:
            self._dispatch([ended], found, life)

    def _prepare_and_call(self, ended: Ended, life: "Life", patient: bool) -> list[tuple[Any, ...]]:
        """The locks of a flush come first, as everywhere: what is prepared takes others behind them."""
        rows(LOCK_WORKER, [life.id])
        if not rows(LOCK_RUN if patient else LOCK_FREE_RUN, [ended.claim.run]):
            return [(ended.number, "busy")]
        if rows(HELD, ended.claim.place):  # one that comes late may not even be possible to prepare
            failpoints.reach("preparing")
            ended.make_item(**prepared(ended))
            failpoints.reach("prepared")
        found = self._call([ended], life, 0, patient)
        failpoints.reach("flushed")
        return found

    def _call(self, batch: list[Ended], life: "Life", wanted: int, patient: bool) -> list[tuple[Any, ...]]:
        queues = array(*settings.WORKER_QUEUES)
        if len(batch) == 1 and batch[0].is_plain and not wanted and not patient:
            (ended,) = batch
            return rows(FLUSH_ONE, [life.id, ended.claim.run, ended.text, queues])
        items = "[" + ",".join(ended.text for ended in batch) + "]"
        runs = sorted({ended.claim.run for ended in batch})
        follow = {} if patient else Counter(ended.claim.run for ended in batch if ended.follow)
        return rows(FLUSH, [life.id, runs, items, json.dumps(follow), wanted, queues, patient])

    def _dispatch(
        self, batch: list[Ended], found: list[tuple[Any, ...]], life: "Life", wanted: int = 0, hint: object = None
    ) -> None:
        """What was claimed goes to the walkers; what was recorded is in hand no longer."""
        if batch:
            failpoints.reach("recorded")
        busy = {row[0] for row in found if row[1] == "busy"}
        claims = [Claim.of(row) for row in found if row[1] == "claimed"]
        if claims:
            failpoints.reach("claimed")
        left = {row[1].removeprefix("ready:"): row[0] for row in found if row[1].startswith("ready:")}
        for ended in batch:
            if ended.number not in busy:
                continue
            if time.monotonic() - ended.since < PATIENCE_SECONDS:
                self._locked.append(ended)
            else:
                self.patient.waiting.put(ended)
        done = [ended for ended in batch if ended.number not in busy]
        longer = min(2 * self._locked_pause, LONGEST_LOCKED_PAUSE_SECONDS)
        self._locked_pause = LOCKED_PAUSE_SECONDS if done or claims else longer
        going_on: dict[int, list[InHand]] = {}
        for ended in done:
            self.process.hands.recorded(ended.claim)
            if ended.follow:
                going_on.setdefault(ended.claim.run, []).append(ended.hand)
        for claim in claims:
            hands = going_on.get(claim.run)
            self.process.begin(claim, life, after=hands.pop() if hands else None)
        self._freed(done)
        if wanted:
            self._elsewhere = any(row[1] == "elsewhere" for row in found)
            self.more = self._elsewhere or sum(row[0] for row in found if row[1] == "taken") >= wanted
            self._stride = min(2 * self._stride, settings.WORKER_THREADS) if self.more else FIRST_CLAIM
            if self._hint is not hint:  # what became ready during the claim may have come too late for it
                self.more = True
        if left:
            self._leave(left)
        changed = {ended.claim.run for ended in done} | {claim.run for claim in claims}
        if changed:
            hints.changed(changed)
        self._wake_sweeper(done)

    def _leave(self, left: dict[str, int]) -> None:
        """Steps became ready here and were left to the queues: for the free walkers here, and for other workers."""
        self.more = True
        for name, count in left.items():
            if count > 1 or self.process.draining.is_set() or not self.process.hands.free():
                hints.work(name, count)

    def settled(self, batch: list[Ended]) -> None:
        """There is nothing to write, or it is written."""
        for ended in batch:
            self.process.hands.recorded(ended.claim)
        self._freed(batch)

    def _freed(self, batch: list[Ended]) -> None:
        for ended in batch:
            self.process.hands.finish(ended.hand)
            if ended.outcome is not None and not ended.follow:
                self.more = True

    def _wake_sweeper(self, batch: list[Ended]) -> None:
        wakes = [ended.outcome.fields["wake"] for ended in batch if ended.outcome and "wake" in ended.outcome.fields]
        if any(ended.outcome and ended.outcome.fields.get("waits_for") in ("event", "limit") for ended in batch):
            wakes.append(0.0)  # what it waits for may have come before
        if any(ended.outcome and "cache" in ended.outcome.fields.get("more", ()) for ended in batch):
            wakes.append(0.0)  # others may wait for its answer
        if any(ended.claim.depth for ended in batch):
            wakes.append(0.0)  # its run may have ended, and another waits for it
        if any(ended.outcome and ended.outcome.fields.get("waits_for") == "approval" for ended in batch):
            wakes.append(0.0)  # it may have a deadline
        if any(ended.claim.more.keys() & {"limited", "holds"} for ended in batch):
            wakes.append(0.0)  # others wait for what it had, or it for what others had
        if any(ended.outcome and ended.outcome.fields.get("waits_for") == "child" for ended in batch):
            wakes.append(0.0)  # the child's start may wait for its turn
        if wakes:
            self.process.sweeper.wake_within(min(wakes))


def rare_of(claim: Claim, outcome: Outcome) -> dict[str, Any]:
    """What an item of a step that is not plain has beside what came of it."""
    if not claim.more:
        return {}
    head = claim.more.get("head") if outcome.becomes in GOES_ON else None
    rare = {"head": head, "budgets": charge_of(claim, outcome)}
    return {name: found for name, found in rare.items() if found is not None}


def prepared(ended: Ended) -> Mapping[str, Any]:
    if ended.prepare is None:
        return {}
    try:
        return ended.prepare()
    except Error:
        raise
    except Exception as exc:  # whatever a step's own content breaks is that step's failure, not the recorder's
        raise NotPrepared(f"{type(exc).__name__}: {exc}") from exc
