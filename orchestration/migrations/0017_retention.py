"""Partitions are made from the newest run on: those that retention dropped are not made again, by the release before
neither. Back again it makes them, which fails where one that was kept has their runs."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
BEFORE = ("partitions_v1", "partitions_v2", "partitions_v3")
BY_THIS = """
create or replace function engine_{0}(ahead bigint default 250000) returns int language plpgsql as $$
begin
    return engine_partitions_v4(ahead);
end $$
"""
REFUSE = """
do $$ begin
    if exists (select from pg_inherits where inhrelid::regclass::text ~ '^orchestration_step_upto_') then
        raise exception 'retention has joined partitions, beside which the release before cannot make its own';
    end if;
end $$
"""


def source(name):
    return (SQL / f"{name}.sql").read_text()


def again(name):
    return source(f"past/{name}").replace("create function", "create or replace function")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0016_schedules")]

    operations = [
        migrations.RunSQL(source("partitions_v4"), [REFUSE, "drop function engine_partitions_v4(bigint)"]),
        *(migrations.RunSQL(BY_THIS.format(name), again(name)) for name in BEFORE),
        migrations.RunSQL("select engine_partitions_v4()", "select 1"),
    ]
