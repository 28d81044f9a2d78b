"""Runs that ended long enough ago go, and the disk they took is free: their partitions are dropped.

A run stays while it, or one of its family (what it started, and what started it), is open, is pinned, or ended later.
What stays of old partitions lies in one. Killed anywhere, the next call finishes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from orchestration.engine import failpoints
from orchestration.engine.connection import rows, value
from orchestration.engine.parts import Busy, in_turn, lock_all, next_part, parts, past, size_of, write_anew

MOST_AT_ONCE = 2_000  # runs deleted in one transaction
LOOKED_AT = 100  # of the runs that should be gone, for the lag
# A family is named by its first run; of children that a release before started, only the parent is known.
FAMILY = "coalesce(r.root_run_id, r.parent_run_id, r.id)"
OVER = f"""
r.ended_at < %(before)s and r.pinned_at is null and not exists (
    select from orchestration_run k where (k.id = {FAMILY} or k.root_run_id = {FAMILY})
        and (k.ended_at is null or k.ended_at >= %(before)s or k.pinned_at is not null))
"""
COUNTED = f"select count(*) from orchestration_run r where r.id >= %(lo)s and r.id < %(hi)s and {OVER}"  # noqa: S608
FORGET = f"""
with seen as materialized (
    select id from orchestration_run where id >= %(lo)s and id < %(hi)s order by id limit {MOST_AT_ONCE}
), over as materialized (
    select r.id from orchestration_run r where r.id in (select id from seen) and {OVER}
    order by r.id for no key update of r skip locked
), gone as (delete from orchestration_run r using over o where r.id = o.id
), made as (delete from orchestration_deliverable d using over o where d.run_id = o.id
), lines as (delete from orchestration_loghead h using over o where h.run_id = o.id
), streams as (delete from orchestration_streamhead h using over o where h.run_id = o.id
), budgets as (delete from orchestration_budget b using over o where b.run_id = o.id
), trees as (delete from orchestration_tree t using over o where t.root_run_id = o.id
), messages as (delete from orchestration_outsideevent e using over o where e.run_id = o.id)
select (select max(id) from seen), (select count(*) from over)
"""  # noqa: S608
LEFT_OVER = """
select exists (select from orchestration_event e where e.run_id >= %(lo)s and e.run_id < %(hi)s and e.seq = 1
               and not exists (select from orchestration_run r where r.id = e.run_id))
"""
OLDEST = f"""
select extract(epoch from %(before)s - min(ended_at))
from (select r.ended_at from orchestration_run r where {OVER} order by r.id limit {LOOKED_AT}) o
"""  # noqa: S608


@dataclass
class Done:
    """Runs from id `began` on lie in a new partition. Of those from `lo` to `hi`, `gone` went. `busy`: who stood in the
    way. `lag_seconds`: for how long the oldest run that should be gone has been so."""

    began: int | None = None
    lo: int = 0
    hi: int = 0
    gone: int = 0
    freed_bytes: int = 0
    busy: str = ""
    lag_seconds: float = 0.0


def retain(*, older: timedelta, every: timedelta) -> Done:
    """Begin a partition, if the newest has runs of longer than `every` ago; let go what ended more than `older` ago."""
    done = Done()
    try:
        with _alone():
            done.began = next_part(every)
            before = _clock() - older
            done.lo, done.hi = past(before)
            if done.hi:
                _let_go(done, before)
    except Busy as exc:
        done.busy = str(exc)
    done.lag_seconds = lag(older)
    return done


def preview(*, older: timedelta) -> Done:
    """What `retain` would let go, and the size of the partitions that it would write anew."""
    before = _clock() - older
    lo, hi = past(before)
    gone = value(COUNTED, {"lo": lo, "hi": hi, "before": before})
    return Done(None, lo, hi, gone, size_of(lo, hi), lag_seconds=lag(older))


def lag(older: timedelta) -> float:
    """Seconds; 0 while every run that should be gone is."""
    return float(value(OLDEST, {"before": _clock() - older}) or 0)


def _let_go(done: Done, before: datetime) -> None:
    in_turn(lock_all)  # if that cannot be had now, nothing is begun
    bounds = {"lo": done.lo, "hi": done.hi, "before": before}
    done.gone = _forget(done.lo, done.hi, before)
    is_whole = len(parts(lo=done.lo, hi=done.hi)) == 1 and not value(LEFT_OVER, bounds)
    stays = value("select exists (select from orchestration_run where id >= %(lo)s and id < %(hi)s)", bounds)
    if is_whole and stays:
        return
    size = size_of(done.lo, done.hi)
    write_anew(done.lo, done.hi)
    done.freed_bytes = size - size_of(done.lo, done.hi)


def _forget(lo: int, hi: int, before: datetime) -> int:
    """Delete the rows of runs that go, and what lies beside them: how many runs. Their steps are there yet."""
    gone: int = 0
    at = lo
    while True:
        with transaction.atomic():
            rows(
                "select pg_advisory_xact_lock(hashtext('engine_pins'))"
            )  # who pins one of a family comes before or after
            last, count = rows(FORGET, {"lo": at, "hi": hi, "before": before})[0]
        gone += count
        failpoints.reach("forgotten")
        if last is None:
            return gone
        at = last + 1


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time. Raises Busy while another is at it."""
    if not value("select pg_try_advisory_lock(hashtext('engine_retention'))"):
        raise Busy("Another retention is at work.")
    try:
        yield
    finally:
        rows("select pg_advisory_unlock(hashtext('engine_retention'))")


def _clock() -> datetime:
    found: datetime = value("select clock_timestamp()")
    return found
