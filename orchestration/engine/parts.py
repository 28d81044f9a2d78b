"""The partitions of what runs write: from which run to which, the next begun, some written anew as one.

A partition ends where the sequence of runs' ids is moved on to the next, so none is ever cut.
"""

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import OperationalError, transaction
from psycopg import errors

from orchestration.engine import failpoints
from orchestration.engine.connection import rows, value

TABLES = ("orchestration_step", "orchestration_event", "orchestration_logline", "orchestration_streamvalue")
OPTIONS = {"orchestration_step": "with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)"}
SEQUENCE = "orchestration_run_id_seq"
LAST_GIVEN = f"select last_value from {SEQUENCE}"  # noqa: S608
TURNS = 20  # tries to have all the tables
LOCK_MS = 400  # whoever comes behind waits so long; shorter than the time after which PostgreSQL looks for deadlocks
PART_MS = 3000  # of a part only what PostgreSQL does by itself holds on to, and lets go
CALM = timedelta(hours=1)  # a run that ended before that has no more lines on their way

PARTS = """
select i.inhparent::regclass::text, c.oid::regclass::text, b[1]::bigint as lo, b[2]::bigint as hi,
       pg_total_relation_size(c.oid)
from pg_inherits i join pg_class c on c.oid = i.inhrelid
cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''?(\\d+)''?\\) TO \\(''?(\\d+)''?\\)') b
where i.inhparent = any (%s::regclass[]) order by lo
"""
NEWEST = f"select greatest((select max(id) from orchestration_run), ({LAST_GIVEN}))"  # noqa: S608
BEGAN = "select created_at from orchestration_run where id >= %s and id < %s order by id {} limit 1"
COPY = """
insert into {0}_next select t.* from {0} t where t.run_id >= %s and t.run_id < %s
and exists (select from orchestration_run r where r.id = t.run_id and coalesce(r.ended_at < %s, false) = {1})
"""
MOVED = """
delete from {0}_next n where not exists (select from orchestration_run r where r.id = n.run_id and r.ended_at < %s)
"""
HOLDERS = """
select distinct format('process %%s since %%s', a.pid, date_trunc('second', a.xact_start))
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.granted and l.relation = any (%s::regclass[]) and a.pid <> pg_backend_pid()
      and a.xact_start < clock_timestamp() - interval '1 second'
"""


class Busy(Exception):
    """Others held what was needed all the time."""


def parts(table: str = TABLES[0], lo: int = 0, hi: int | None = None) -> list[tuple[str, int, int, int]]:
    """(name, from, to, bytes) of those of `table` within these ids, in their order."""
    found = [(name, start, end, size) for _, name, start, end, size in rows(PARTS, [[table]])]
    return [part for part in found if part[1] >= lo and (hi is None or part[2] <= hi)]


def size_of(lo: int, hi: int) -> int:
    """Bytes of all tables' partitions within these ids, with their indexes."""
    return sum(size for table in TABLES for _, _, _, size in parts(table, lo, hi))


def next_part(every: timedelta) -> int | None:
    """Begin one, if the newest has runs of longer than `every` ago: the id from which on runs lie in it."""
    newest = value(NEWEST)
    lo, hi = next((lo, hi) for _, lo, hi, _ in parts() if lo <= newest < hi)
    began = rows(BEGAN.format("asc"), [lo, hi])
    if not began or began[0][0] > value("select clock_timestamp()") - every:
        return None
    rows("select engine_partitions_v4(%s)", [hi - newest])

    def move_on() -> None:
        rows(f"alter sequence {SEQUENCE} no cycle")  # changes nothing, but from here on nobody takes an id
        if value(LAST_GIVEN) < hi:
            rows(f"alter sequence {SEQUENCE} restart with {hi}")

    in_turn(move_on)
    return hi


def past(before: datetime) -> tuple[int, int]:
    """From which id to which: the partitions whose runs all began before that, from the oldest on; (0, 0) for none."""
    newest = value(NEWEST)
    found: list[tuple[int, int]] = []
    for _, lo, hi, _ in parts():
        last = rows(BEGAN.format("desc"), [lo, hi])
        if hi > newest or (last and last[0][0] >= before):
            break
        found.append((lo, hi))
    return (found[0][0], found[-1][1]) if found else (0, 0)


def write_anew(lo: int, hi: int) -> None:
    """Partitions within these ids become one with the rows of the runs that are there; none, if no run is.

    Rows of runs that nobody moves any more are copied first, while all goes on. Raises Busy.
    """
    calm = value("select clock_timestamp()") - CALM
    for table in TABLES:
        rows(f"drop table if exists {table}_next")  # of a call that was killed
        rows(f"create table {table}_next (like {table} including all) {OPTIONS.get(table, '')}")
        # Attaching it then reads no row.
        inside = f"check (run_id >= {lo} and run_id < {hi})"
        rows(f"alter table {table}_next add constraint {table}_next_range {inside}")
        rows(COPY.format(table, "true"), [lo, hi, calm])
    failpoints.reach("kept")
    in_turn(lambda: _swap(lo, hi, calm))


def _swap(lo: int, hi: int, calm: datetime) -> None:
    lock_all()
    stays = value("select exists (select from orchestration_run where id >= %s and id < %s)", [lo, hi])
    for table in TABLES:
        rows(MOVED.format(table), [calm])
        rows(COPY.format(table, "false"), [lo, hi, calm])
        for name, *_ in parts(table, lo, hi):
            rows(f"alter table {table} detach partition {name}")
            rows(f"drop table {name}")
        if stays:
            rows(f"alter table {table} attach partition {table}_next for values from ({lo}) to ({hi})")
            rows(f"alter table {table}_next drop constraint {table}_next_range")
            rows(f"alter table {table}_next rename to {table}_upto_{hi}")
        else:
            rows(f"drop table {table}_next")
    failpoints.reach("swapped")


def lock_all() -> None:
    """Everyone who reads or writes the parts goes through their parents."""
    rows(f"lock table only {', only '.join(TABLES)} in access exclusive mode")
    rows(f"set local lock_timeout = {PART_MS}")


def in_turn(act: Callable[[], None]) -> None:
    """`act` in a transaction, again while others hold what it needs. Raises Busy, and nothing is done."""
    for turn in range(TURNS):
        try:
            with transaction.atomic():
                rows(f"set local lock_timeout = {LOCK_MS}")
                act()
            return
        except OperationalError as exc:
            if not isinstance(exc.__cause__, errors.LockNotAvailable | errors.DeadlockDetected):
                raise
            if turn == TURNS - 1:
                holders = ", ".join(words for (words,) in rows(HOLDERS, [[*TABLES, SEQUENCE]]))
                raise Busy(f"Others hold the tables: {holders or 'one after the other'}.") from exc
        time.sleep(random.uniform(0.1, 0.5))  # noqa: S311
