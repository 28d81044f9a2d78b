"""A step's child run is laid in the flush in which the step begins to wait for it."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0020_promises")]

    operations = [
        migrations.RunSQL(
            (SQL / "past" / "launch_v1_first.sql").read_text(), "drop function engine_launch_v1(engine_moved_v1[])"
        )
    ]
