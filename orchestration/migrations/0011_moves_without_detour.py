from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
FUNCTIONS = {
    "cancel_v3": "engine_cancel_v3(bigint, text, jsonb, jsonb)",
    "rewire_v1_first": "engine_rewire_v1(bigint)",
    "reopen_v2_first": "engine_reopen_v2(bigint, int, bigint, int[], jsonb, jsonb, jsonb, int, bigint)",
}


class Migration(migrations.Migration):
    """Canceling and opening a round by the moves of today; what a round makes ready takes its turn behind what is ready."""

    dependencies = [("orchestration", "0010_housekeeping_in_parts")]

    operations = [
        migrations.RunSQL((SQL / "past" / f"{name}.sql").read_text(), f"drop function {signature}")
        for name, signature in FUNCTIONS.items()
    ]
