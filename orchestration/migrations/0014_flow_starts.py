"""Runs are laid with all that a definition may say of them, and housekeeping knows all that names a payload. What the release
before calls does the same."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
STARTS = "bigint, bigint, text[], jsonb[], bigint, bigint, int, int, jsonb[]"
# As the release before has them, for the way back.
BEFORE = ("start_v1", "start_v2", "housekeeping_v1", "housekeeping_v2", "housekeeping_v3")


def source(name):
    return (SQL / f"{name}.sql").read_text()


def before():
    functions = (source(f"past/{name}").partition("create function ")[2] for name in BEFORE)
    return "".join(f"create or replace function {function}" for function in functions)


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0013_flow_columns")]

    operations = [
        migrations.RunSQL(source("past/lay_v1_first"), f"drop function engine_lay_v1({STARTS})"),
        migrations.RunSQL(source("start_v3"), f"drop function engine_start_v3({STARTS})"),
        migrations.RunSQL(source("past/housekeeping_v4_first"), "drop function engine_housekeeping_v4(bytea, int)"),
        migrations.RunSQL(
            source("past/start_v1_by_v3") + source("past/start_v2_by_v3") + source("past/housekeeping_by_v4"), before()
        ),
    ]
