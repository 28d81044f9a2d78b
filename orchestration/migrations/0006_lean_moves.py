"""The moves of steps in fewer and smaller statements: a statement costs more to begin than to do its work for one step."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


def source(name: str) -> str:
    return (SQL / f"{name}.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0005_runs_of_a_version")]

    operations = [
        migrations.RunSQL(
            source("past/settle_v2_first"),
            "drop function engine_settle_v2(bigint, jsonb, jsonb, jsonb, text[]); drop type engine_told_v2",
        ),
        migrations.RunSQL(
            source("past/settle_v1_by_v2"),
            source("past/settle_v1").replace("create function", "create or replace function"),
        ),
        migrations.RunSQL(
            source("past/flush_v2_first"),
            "drop function engine_flush_v2(bigint, bigint[], jsonb, jsonb, int, text[], boolean)",
        ),
    ]
