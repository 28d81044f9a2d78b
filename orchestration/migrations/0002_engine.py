"""The partitioned tables of steps and events, and the engine's functions. A function's name carries its version: a later
release adds the next one beside it, so that two releases work side by side."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
FUNCTIONS = {
    "past/partitions_v1": "engine_partitions_v1(bigint)",
    "past/settle_v1": "engine_settle_v1(bigint, jsonb, jsonb, jsonb, text[])",
    "past/flush_v1": "engine_flush_v1(bigint, jsonb, int, text[], boolean)",
    "past/start_v1": "engine_start_v1(bigint, bigint, text, jsonb, bigint, bigint, int, int)",
    "past/cancel_v1": "engine_cancel_v1(bigint, text, jsonb, jsonb)",
    "past/reopen_v1": "engine_reopen_v1(bigint, int, bigint, int[], jsonb, jsonb, jsonb, int, bigint)",
    "past/sweep_v1": "engine_sweep_v1(bigint, float8, int)",
    "past/housekeeping_v1": "engine_housekeeping_v1(int)",
}


def source(name: str) -> str:
    return (SQL / f"{name}.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("orchestration", "0001_initial"),
        ("agents", "0001_agents"),
        ("approvals", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(source("tables"), source("tables_drop")),
        *(migrations.RunSQL(source(name), f"drop function {signature}") for name, signature in FUNCTIONS.items()),
        migrations.RunSQL("select engine_partitions_v1()", "select 1"),
    ]
