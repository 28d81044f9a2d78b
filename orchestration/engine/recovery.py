from collections.abc import Callable, Collection
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import DataError, Error, IntegrityError, InterfaceError, OperationalError, connection, transaction

from orchestration.engine import failpoints
from orchestration.engine.connection import rows
from orchestration.engine.hints import hints
from orchestration.engine.outcomes import NotPrepared, NotRecordable, Outcome, encode, failed
from orchestration.language.plan import HIGHEST_LEVEL

if TYPE_CHECKING:
    from orchestration.engine.process import Process
    from orchestration.engine.recorder import Ended

log = structlog.get_logger(__name__)
Place = tuple[int, int, int]
FLUSH = f"select * from engine_flush_v6(%s, %s::bigint[], %s::jsonb, %s::jsonb, %s, %s::text[], %s, {HIGHEST_LEVEL})"  # noqa: S608
LOCK_LIVES = "select from orchestration_worker where id = any(%s) order by id for update"
OWNED = "select run_id, key, fence from orchestration_step where owner = any(%s) and status = 'running'"
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0


class Recovery:
    """Gets a batch written, whatever becomes of its connection on the way. One for each thread that writes.

    An error says whose fault it is. A value that the database refuses (classes 22 and 23), or rows that cannot be made,
    are one item's: its step fails. All others are the database's own: what is in doubt is looked up in the rows, and
    the rest is written again. No outcome is ever forgotten unwritten.
    """

    def __init__(
        self,
        process: "Process",
        *,
        flush: "Callable[[list[Ended]], None]",
        settled: "Callable[[list[Ended]], None]",
        keep: "Callable[[Ended], None]",
        claims: bool,
    ) -> None:
        """`settled` is told what needs no more writing; `keep` takes what the database does not take now, to hand it in
        again; `claims`: this thread claims steps, so it alone can miss some."""
        self.process = process
        self.flush = flush
        self.settled = settled
        self.keep = keep
        self.claims = claims

    def write(self, batch: "list[Ended]", *, is_doubtful: bool = False) -> None:
        """`is_doubtful`: the rows have to tell first; what is recorded already must not be handed in again."""
        pause = FIRST_PAUSE_SECONDS
        strange = 0  # errors one after the other that tell of no lost connection
        while True:
            try:
                if is_doubtful:
                    batch = self._still_to_write(batch)
                    is_doubtful = False
                if strange > 1:
                    self._put_aside(batch)
                    return
                self.flush(batch)
                return
            except (DataError, IntegrityError, NotPrepared, NotRecordable) as exc:
                self._one_by_one(batch, exc)
                return
            except Error as exc:
                log.warning("connection_lost", error=str(exc).strip(), steps=len(batch))
                is_strange = not is_doubtful and not isinstance(exc, OperationalError | InterfaceError)
                strange = strange + 1 if is_strange else 0
                is_doubtful = True
                if self.process.stopped.wait(pause):
                    return
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _still_to_write(self, batch: "list[Ended]") -> "list[Ended]":
        """After a commit whose outcome is not known. Raises while the rows cannot be read.

        Taking the worker's rows FOR UPDATE (one a life) waits for a flush that the server is still working on; only
        then the steps' rows tell what was ended. A claim whose answer was lost is handed back.
        """
        connection.close()
        lives = list(self.process.lease.ids)
        with transaction.atomic():
            rows(LOCK_LIVES, [lives])
            owned = set(rows(OWNED, [lives]))
        self.process.lease.doubt()
        failpoints.reach("recovering")
        if self.claims:
            self._hand_back(owned - self.process.hands.owed())
        self.settled([ended for ended in batch if ended.claim.place not in owned])
        self.process.recorder.look()
        return [ended for ended in batch if ended.claim.place in owned]

    def _hand_back(self, lost: set[Place]) -> None:
        """What cannot be handed back now (its run is locked, say) is found again after the next heartbeat."""
        try:
            hand_back(self.process, lost, begun=False, patient=False)
        except Error as exc:
            log.warning("not_handed_back", error=str(exc).strip(), steps=sorted(lost))
            connection.close()

    def _put_aside(self, batch: "list[Ended]") -> None:
        """The database is there, and does not take this, for a reason that nobody has foreseen: others go on."""
        log.error("not_recorded", steps=[(ended.claim.public_id, ended.claim.name) for ended in batch])
        if not batch:
            self.process.recorder.more = False  # the next sweep says whether there is something to claim
        for ended in batch:
            self.keep(ended)

    def _one_by_one(self, batch: "list[Ended]", exc: Exception) -> None:
        """A batch never spreads an error. What fails alone fails its step, in words of ours."""
        if len(batch) > 1:
            for ended in batch:
                self.write([ended])
            return
        if not batch:
            log.error("claim_failed", error=str(exc))
            self.process.recorder.more = False  # the next sweep says whether there is something to claim
            return
        (ended,) = batch
        log.error("not_recorded", run=ended.claim.public_id, step=ended.claim.name, error=str(exc))
        if ended.is_refused:
            self.keep(ended)
            return
        why = "The result cannot be stored" if isinstance(exc, DataError) else "The outcome could not be recorded"
        ended.replace(failed("permanent", f"{why}: {exc if isinstance(exc, NotPrepared) else type(exc).__name__}"))
        ended.is_refused = True
        self.write([ended])


def hand_back(process: "Process", steps: Collection[Place], *, begun: bool, patient: bool) -> None:
    """`begun`: their calls may have been. `patient`: wait for runs that are locked, each in a commit of its own."""
    outcome = Outcome("ready", fields={"unlost": True, "more": {"begun": begun}})
    for run, places in groupby(sorted(steps), key=itemgetter(0)):
        items = ",".join(f'{{"n":0,{encode(place, "running", outcome).text}}}' for place in places)
        rows(FLUSH, [process.worker_id, [run], f"[{items}]", "{}", 0, settings.WORKER_QUEUES, patient])
    if steps:
        failpoints.reach("handed_back")
        for name in settings.WORKER_QUEUES:
            hints.work(name)
