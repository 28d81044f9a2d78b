"""Heads lay their items: maps and repeats."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0021_child_runs")]

    operations = [
        migrations.RunSQL(
            (SQL / "past" / "spread_v1_first.sql").read_text(), "drop function engine_spread_v1(engine_moved_v1[])"
        ),
    ]
