from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


class Migration(migrations.Migration):
    """The database says who may declare others dead, and one run that cannot be repaired holds up no other."""

    dependencies = [("orchestration", "0008_start_many")]

    operations = [
        migrations.AddField("worker", "fit_from", models.DateTimeField(null=True)),
        migrations.RunSQL(
            (SQL / "past" / "repair_v1_first.sql").read_text(), "drop function engine_repair_v1(bigint[], int)"
        ),
        migrations.RunSQL(
            (SQL / "past" / "sweep_v2_first.sql").read_text(),
            "drop function engine_sweep_v2(bigint, float8, int, bigint[])",
        ),
    ]
