"""What people do to live runs: pause and resume, try failed steps again, another priority or time."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
FUNCTIONS = (
    "engine_pause_v1(bigint, jsonb)",
    "engine_resume_v1(bigint, jsonb)",
    "engine_retry_v1(bigint, int[], jsonb, jsonb)",
    "engine_adjust_v1(bigint, jsonb, jsonb)",
)


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0017_retention")]

    operations = [
        migrations.RunSQL((SQL / "past" / "levers_v1_first.sql").read_text(), f"drop function {', '.join(FUNCTIONS)}"),
        # A gate that is passed over by hand was not resolved.
        migrations.RunSQL(
            "create or replace function "
            + (SQL / "past" / "settle_v3_first.sql").read_text().partition("create function ")[2],
            migrations.RunSQL.noop,
        ),
    ]
