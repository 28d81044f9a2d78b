from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


class Migration(migrations.Migration):
    """Housekeeping waits for nobody and costs the same however many payloads there are."""

    dependencies = [("orchestration", "0009_sweep_by_itself")]

    operations = [
        migrations.RunSQL(
            (SQL / "past" / "housekeeping_v3.sql").read_text(), "drop function engine_housekeeping_v3(bytea, int)"
        ),
    ]
