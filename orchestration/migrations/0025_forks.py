"""Runs begun from a step of another, and runs that go on by another version."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
FORK = "engine_fork_v1(bigint, int, int[], int[], text, jsonb, bigint, jsonb, jsonb)"


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0024_messages")]

    operations = [
        migrations.RunSQL((SQL / "fork_v1.sql").read_text(), f"drop function {FORK}"),
        migrations.RunSQL(
            (SQL / "move_v1.sql").read_text(), "drop function engine_move_v1(bigint, bigint, int, jsonb)"
        ),
    ]
