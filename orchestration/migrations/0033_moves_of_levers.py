"""The moves of steps with limits, kept answers, budgets and what takes them back. Functions that the release before calls keep
their names and what they take and give; its workers claim steps of runs that they understand alone."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
GOES = "engine_goes_v1(r.status, r.undoing)"
FLUSHED = "bigint, bigint[], jsonb, jsonb, int, text[], boolean"
REFUSE = """
do $$ begin
    if exists (select from orchestration_run where ended_at is null and level > 1) then
        raise exception 'runs are open that use what the release before does not know: let them end, or cancel them';
    end if;
end $$;
"""
FIRST = (
    "lay_v1",
    "launch_v1",
    "given_v1",
    "rare_v1",
    "claims_v1",
    "spread_v1",
    "settle_v3",
    "cancel_v4",
    "levers_v1",
    "housekeeping_v4",
)
SECOND = {"rewire_v1": "past/rewire_v1_third", "repair_v1": "repair_v1", "sweep_v2": "sweep_v2"}


def replacing(name: str) -> str:
    """Its types are those that there are."""
    _, _, functions = (SQL / f"{name}.sql").read_text().partition("create function")
    return "create or replace function" + functions.replace("create function", "create or replace function")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0032_visible_to")]

    operations = [
        migrations.RunSQL((SQL / "past/flush_v4.sql").read_text(), f"drop function engine_flush_v4({FLUSHED})"),
        migrations.RunSQL(
            replacing("past/flush_v3").replace(GOES, f"r.level < 2 and {GOES}"), replacing("past/flush_v3")
        ),
        migrations.RunSQL(migrations.RunSQL.noop, "drop function engine_room_v1(jsonb)"),
        *(migrations.RunSQL(replacing(name), replacing(f"past/{name}_first")) for name in FIRST),
        *(migrations.RunSQL(replacing(then), replacing(f"past/{name}_second")) for name, then in SECOND.items()),
        # On the way back it is the first: what is refused leaves all as it was.
        migrations.RunSQL(migrations.RunSQL.noop, REFUSE),
    ]
