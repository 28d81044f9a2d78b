"""A clock that jumps. The engine compares the database's times alone, and asks for them by functions' names: in the
transaction of a play, those names mean functions of our own."""

from datetime import datetime, timedelta

from django.db import connection

from accounts.clock import database_clock
from orchestration.engine.connection import rows
from orchestration.testkit.exceptions import NotPlayable

# A column's default was bound to the real clock when its table was made; and a table with checks that are put off until
# the transaction's end cannot be altered.
SET_UP = """
do $$
declare
    clock text;
    x record;
begin
    if to_regnamespace('play_clock') is not null then
        return;
    end if;
    create schema play_clock;
    set constraints all immediate;
    set constraints all deferred;
    create temporary table bound on commit drop as
        select table_name, column_name from information_schema.columns join pg_class on relname = table_name
        where table_schema = 'public' and relkind in ('r', 'p') and not relispartition
          and column_default ~ '^(clock_timestamp|statement_timestamp|now)\\(\\)$';
    foreach clock in array array['clock_timestamp', 'statement_timestamp', 'transaction_timestamp', 'now'] loop
        execute format('create function play_clock.%%I() returns timestamptz language sql as $f$'
            ' select pg_catalog.%%I() + current_setting(''countersign.ahead'')::interval $f$', clock, clock);
    end loop;
    perform set_config('search_path', 'play_clock, ' || current_setting('search_path') || ', pg_catalog', true);
    perform set_config('countersign.ahead', '0', true);
    for x in select * from bound loop
        execute format('alter table %%I alter column %%I set default clock_timestamp()', x.table_name, x.column_name);
    end loop;
end $$
"""


class Clock:
    """The database's clock in this transaction, ahead of the real one; with its end all is as it was."""

    def __init__(self, at: datetime | None = None) -> None:
        if not connection.in_atomic_block:
            raise NotPlayable("A play needs a transaction around it: the fixture play, or pytest-django's db.")
        rows(SET_UP)
        self.set_ahead(timedelta())
        if at is not None:
            self.set_ahead(at - self.now())

    def now(self) -> datetime:
        return database_clock()

    def pass_time(self, seconds: float) -> None:
        self.set_ahead(self.ahead + timedelta(seconds=seconds))

    def set_ahead(self, ahead: timedelta) -> None:
        self.ahead = ahead
        rows("select set_config('countersign.ahead', %s, true)", [f"{ahead / timedelta(microseconds=1):.0f} us"])
