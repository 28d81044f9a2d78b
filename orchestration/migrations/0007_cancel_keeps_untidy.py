from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


class Migration(migrations.Migration):
    """A cancel forgets no child that is still to be canceled."""

    dependencies = [("orchestration", "0006_lean_moves")]

    operations = [
        migrations.RunSQL(
            (SQL / "past" / "cancel_v2.sql").read_text(), "drop function engine_cancel_v2(bigint, text, jsonb, jsonb)"
        ),
    ]
