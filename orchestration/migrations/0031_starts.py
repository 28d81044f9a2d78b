"""Limits of starts: runs that wait for their turn to begin."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
DROPPED = """
drop function engine_admit_v1(bigint, boolean), engine_displace_v1(bigint, bigint, text), engine_readmit_v1(bigint), engine_turns_v1(int),
    engine_debounce_v1(bigint, bigint, text, jsonb, jsonb, jsonb),
    engine_debounced_v1(bigint, text, bigint, timestamptz, int, jsonb)
"""


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0030_streams")]

    operations = [
        migrations.RunSQL(
            (SQL / "past" / "admit_v1_third.sql").read_text() + (SQL / "debounce_v1.sql").read_text(), DROPPED
        )
    ]
