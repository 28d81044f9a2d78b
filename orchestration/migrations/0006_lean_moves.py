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
            "create index fairshare_clock on orchestration_fairshare (queue, rank desc)", "drop index fairshare_clock"
        ),
        migrations.RunSQL(
            source("fair_v1"),
            "drop function engine_share_v1(text[], text[], bigint[]); drop function engine_fair_v1(text, text);"
            " drop function engine_clock_v1(text)",
        ),
        migrations.RunSQL(
            source("settle_v2"),
            "drop function engine_settle_v2(bigint, jsonb, jsonb, jsonb, text[]); drop type engine_told_v2",
        ),
        migrations.RunSQL(
            source("past/settle_v1_by_v2"),
            source("past/settle_v1").replace("create function", "create or replace function"),
        ),
        migrations.RunSQL(
            source("flush_v2"), "drop function engine_flush_v2(bigint, bigint[], jsonb, jsonb, int, text[], boolean)"
        ),
    ]
