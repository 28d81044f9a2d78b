import itertools
import json
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.db import DataError, Error, InterfaceError, OperationalError, connection, transaction

from orchestration.engine import failpoints
from orchestration.engine.connection import rows, use_own_connection
from orchestration.engine.hints import hints
from orchestration.engine.outcomes import Claim, Item, NotRecordable, Outcome, encode, failed, store_payloads

if TYPE_CHECKING:
    from orchestration.engine.hands import InHand
    from orchestration.engine.lease import Life
    from orchestration.engine.process import Process

log = structlog.get_logger(__name__)
FLUSH = "select * from engine_flush_v2(%s, %s::bigint[], %s::jsonb, %s::jsonb, %s, %s::text[], %s)"
LOCK_WORKER = "select from orchestration_worker where id = %s and dead_at is null for key share"
LOCK_RUN = "select id from orchestration_run where id = %s for no key update"
LOCK_FREE_RUN = f"{LOCK_RUN} skip locked"
HELD = "select key from orchestration_step where run_id = %s and key = %s and fence = %s and status = 'running'"
LARGEST_BATCH = 100
FIRST_CLAIM = 16  # and twice as many each time that there was as much: what comes at once is shared with other workers
PATIENCE_SECONDS = (
    0.05  # an item whose run is locked elsewhere goes into the next batches for so long, then waits alone
)
LOCKED_PAUSE_SECONDS = 0.002
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0


@dataclass(slots=True, eq=False)
class Ended:
    """A try that is to be recorded. `outcome` None: there is nothing to record."""

    number: int
    hand: "InHand"
    outcome: Outcome | None
    follow: bool
    item: Item | None
    since: float

    @property
    def claim(self) -> Claim:
        return self.hand.claim

    @property
    def text(self) -> str:
        if self.item is None:
            raise ValueError("nothing is to be recorded")
        return f'{{"n":{self.number},{self.item.text}}}'


class Recorder(threading.Thread):
    """The one thread of a process that ends steps and claims the next.

    All that came since its last commit goes into one round trip and one commit. Alone there is nothing to wait for;
    under load the batches grow by themselves.
    """

    def __init__(self, process: "Process") -> None:
        super().__init__(name="recorder", daemon=True)
        self.process = process
        self.inbox: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()  # None: look for work, or stop
        self.more = False  # steps may be ready that nobody took
        self._hint = object()  # another one with each hint
        self._numbers = itertools.count(1)
        self._locked: list[Ended] = []
        self._stride = FIRST_CLAIM
        self._elsewhere = False  # what is ready belongs to runs that another process has locked at this moment
        self._patient = PatientRecorder(self)

    # --- called by other threads

    def ended(self, hand: "InHand", outcome: Outcome | None) -> None:
        """Hand in what became of a claimed step."""
        follow = outcome is not None and self.process.goes_on(hand)
        item = None
        if outcome is not None:
            try:
                item = encode(hand.claim.place, "running", outcome)
            except NotRecordable as exc:
                outcome = failed("permanent", str(exc))
                item = encode(hand.claim.place, "running", outcome)
        self.process.hands.handed_in(hand)
        self.inbox.put(Ended(next(self._numbers), hand, outcome, follow, item, time.monotonic()))

    def look(self) -> None:
        """Steps may have become ready: claim for the walkers that are free."""
        self._hint = object()  # first: see _dispatch
        self.more = True
        self.inbox.put(None)

    # --- its own thread

    def run(self) -> None:
        use_own_connection()
        self._patient.start()
        try:
            while not (self.process.stopped.is_set() and self.inbox.empty() and not self._locked):
                batch = self._gather()
                if batch or self._wanted():
                    self._record(batch)
        except Exception:  # the top of the thread: without it nothing is recorded, and the lease must not go on
            log.exception("recorder_crashed")
            os._exit(os.EX_SOFTWARE)
        self._patient.waiting.put(None)
        connection.close()

    def _gather(self) -> list[Ended]:
        """What came since the last commit; waits for the first, unless there is something to do at once."""
        batch, self._locked = self._locked, []
        came: list[Ended | None] = []
        try:
            if batch or (self._elsewhere and self._wanted()):
                came.append(self.inbox.get(timeout=LOCKED_PAUSE_SECONDS))
            elif not self._wanted():
                came.append(self.inbox.get())
            while len(batch) + len(came) < LARGEST_BATCH:
                came.append(self.inbox.get_nowait())
        except queue.Empty:
            pass
        return batch + [ended for ended in came if ended is not None]

    def _wanted(self) -> int:
        if not self.more or self.process.draining.is_set() or not self.process.lease.life.may_begin():
            return 0
        return min(self._stride, self.process.hands.free())

    def _record(self, batch: list[Ended]) -> None:
        alone = [ended for ended in batch if ended.outcome is not None and ended.outcome.prepare is not None]
        self._settled([ended for ended in batch if ended.item is None])
        together = [ended for ended in batch if ended.item is not None and ended not in alone]
        if together or self._wanted():
            self.flush_or_recover(together)
        for ended in alone:
            self.flush_or_recover([ended])

    def flush_or_recover(self, batch: list[Ended], *, patient: bool = False) -> None:
        pause = FIRST_PAUSE_SECONDS
        is_doubtful = False
        while True:
            try:
                if is_doubtful:
                    batch = self._recovered(batch)
                    is_doubtful = False
                self.flush(batch, patient=patient)
                return
            except (OperationalError, InterfaceError) as exc:
                log.warning("connection_lost", error=str(exc).strip(), steps=len(batch))
                is_doubtful = True  # until the rows have told: what is recorded already must not be handed in again
                if self.process.stopped.wait(pause):
                    return
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            except (Error, _NotPrepared) as exc:
                self._one_by_one(batch, exc)
                return

    def flush(self, batch: list[Ended], *, patient: bool) -> None:
        """One round trip. Outcomes with rows of their own (`prepare`) come alone, in a transaction with them."""
        if batch:
            failpoints.reach("flush")
        payloads = [payload for ended in batch if ended.item for payload in ended.item.payloads]
        if payloads:
            store_payloads(payloads)
            failpoints.reach("payloads")
        wanted, hint, life = (0 if patient else self._wanted()), self._hint, self.process.lease.life
        prepare = batch[0].outcome.prepare if len(batch) == 1 and batch[0].outcome else None
        if prepare is None:
            self._dispatch(batch, self._call(batch, life, wanted, patient), life, wanted, hint)
            return
        (ended,) = batch
        try:
            with transaction.atomic():
                # The locks of a flush come first, as everywhere: what is prepared takes others behind them.
                rows(LOCK_WORKER, [life.id])
                if not rows(LOCK_RUN if patient else LOCK_FREE_RUN, [ended.claim.run]):
                    found = [(ended.number, "busy")]
                    raise _TakenBack
                if rows(HELD, ended.claim.place):  # one that comes late may not even be possible to prepare
                    failpoints.reach("preparing")
                    ended.item = encode(ended.claim.place, "running", ended.outcome, **_prepared(prepare))  # type: ignore[arg-type]
                    failpoints.reach("prepared")
                found = self._call(batch, life, 0, patient)
                if any(row[1] in ("canceled", "busy") for row in found):
                    raise _TakenBack
                failpoints.reach("flushed")
        except _TakenBack:
            # What was prepared is gone. A run that is canceling holds nothing open: the step just ends.
            if any(row[1] == "canceled" for row in found):
                ended.outcome = Outcome("canceled")
                ended.item = encode(ended.claim.place, "running", ended.outcome)
                self.inbox.put(ended)
                return
        self._dispatch(batch, found, life, 0, hint)

    def _call(self, batch: list[Ended], life: "Life", wanted: int, patient: bool) -> list[tuple[Any, ...]]:
        items = "[" + ",".join(ended.text for ended in batch) + "]"
        runs = sorted({ended.claim.run for ended in batch})
        follow = json.dumps(Counter(ended.claim.run for ended in batch if ended.follow))
        # The patient recorder claims nothing, so it needs no worker: what it ended is for the other to go on with.
        worker = None if patient else life.id
        return rows(FLUSH, [worker, runs, items, follow, wanted, settings.WORKER_QUEUES, patient])

    def _dispatch(
        self, batch: list[Ended], found: list[tuple[Any, ...]], life: "Life", wanted: int, hint: object
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
                self._patient.waiting.put(ended)
        done = [ended for ended in batch if ended.number not in busy]
        going_on: dict[int, list[InHand]] = {}
        for ended in done:
            self.process.hands.recorded(ended.claim)
            if ended.follow:
                going_on.setdefault(ended.claim.run, []).append(ended.hand)
        taken = 0  # from the queues
        for claim in claims:
            hands = going_on.get(claim.run)
            taken += not hands
            self.process.begin(claim, life, after=hands.pop() if hands else None)
        self.freed(done)
        if wanted:
            self._elsewhere = any(row[1] == "elsewhere" for row in found)
            self.more = self._elsewhere or taken >= wanted
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

    def _settled(self, batch: list[Ended]) -> None:
        for ended in batch:
            self.process.hands.recorded(ended.claim)
        self.freed(batch)

    def freed(self, batch: list[Ended]) -> None:
        for ended in batch:
            self.process.hands.finish(ended.hand)
            if ended.outcome is not None and not ended.follow:
                self.more = True

    def _wake_sweeper(self, batch: list[Ended]) -> None:
        wakes = [ended.outcome.fields["wake"] for ended in batch if ended.outcome and "wake" in ended.outcome.fields]
        if any(ended.claim.depth for ended in batch):
            wakes.append(0.0)  # its run may have ended, and another waits for it
        if any(ended.outcome and ended.outcome.fields.get("waits_for") == "approval" for ended in batch):
            wakes.append(0.0)  # it may have a deadline
        if wakes:
            self.process.sweeper.wake_within(min(wakes))

    # --- when something fails

    def _one_by_one(self, batch: list[Ended], exc: Exception) -> None:
        """A batch never spreads an error. What fails alone fails its step, in words that cannot fail again."""
        if len(batch) > 1:
            for ended in batch:
                self.flush_or_recover([ended])
            return
        if not batch:
            log.error("claim_failed", error=str(exc))
            self.more = False
            return
        (ended,) = batch
        log.error("not_recorded", run=ended.claim.public_id, step=ended.claim.name, error=str(exc))
        if ended.outcome is not None and ended.outcome.becomes == "failed" and ended.outcome.output is None:
            self._settled(batch)
            return
        why = "The result cannot be stored" if isinstance(exc, DataError) else "The outcome could not be recorded"
        ended.outcome = failed("permanent", f"{why}: {exc if isinstance(exc, _NotPrepared) else type(exc).__name__}")
        ended.item = encode(ended.claim.place, "running", ended.outcome)
        self.flush_or_recover([ended])

    def _recovered(self, batch: list[Ended]) -> list[Ended]:
        """What of a batch is still to be written, after a commit whose outcome is not known.

        Taking the worker's rows FOR UPDATE (one a life) waits for a flush that the server is still working on; only
        then the steps' rows tell what was ended. A claim whose answer was lost is handed back. Raises while the rows
        cannot be read.
        """
        connection.close()
        lives = list(self.process.lease.ids)
        with transaction.atomic():
            rows("select from orchestration_worker where id = any(%s) order by id for update", [lives])
            owned = set(
                rows(
                    "select run_id, key, fence from orchestration_step where owner = any(%s) and status = 'running'",
                    [lives],
                )
            )
        failpoints.reach("recovering")
        if threading.current_thread() is self:  # what the other claims, it alone can miss
            self.hand_back(owned - self.process.hands.owed(), begun=False)
        self._settled([ended for ended in batch if ended.claim.place not in owned])
        self.more = True
        return [ended for ended in batch if ended.claim.place in owned]

    def hand_back(self, steps: set[tuple[int, int, int]], *, begun: bool) -> None:
        outcome = Outcome("ready", fields={"unlost": True, "begun": begun})
        items = [f'{{"n":0,{encode(step, "running", outcome).text}}}' for step in sorted(steps)]
        if items:
            runs = sorted({run for run, _, _ in steps})
            rows(FLUSH, [self.process.worker_id, runs, f"[{','.join(items)}]", "{}", 0, settings.WORKER_QUEUES, True])
            failpoints.reach("handed_back")
            for name in settings.WORKER_QUEUES:
                hints.work(name)


class PatientRecorder(threading.Thread):
    """A second connection for items whose run is locked elsewhere for long: each waits for its lock alone."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(name="patient-recorder", daemon=True)
        self.recorder = recorder
        self.waiting: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()  # None: stop

    def run(self) -> None:
        use_own_connection()
        while (ended := self.waiting.get()) is not None:
            failpoints.reach("patient")
            self.recorder.flush_or_recover([ended], patient=True)
            if self.recorder.more:
                self.recorder.inbox.put(None)  # it may sleep, and what became ready here is for it to claim
        connection.close()


def _prepared(prepare: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return prepare()
    except Error:
        raise
    except Exception as exc:  # whatever a step's own content breaks is that step's failure, not the recorder's
        raise _NotPrepared(f"{type(exc).__name__}: {exc}") from exc


class _NotPrepared(Exception):
    """The rows that belong to an outcome cannot be made."""


class _TakenBack(Exception):
    """The flush did not take the outcome, so what was prepared for it is rolled back."""
