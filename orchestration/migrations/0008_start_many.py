"""Many runs are started in one statement, and one key may have begun several."""

from pathlib import Path

import django.contrib.postgres.fields
from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0007_cancel_keeps_untidy")]

    operations = [
        migrations.AddField(
            model_name="startkey",
            name="runs",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), null=True, size=None),
        ),
        migrations.RunSQL(
            (SQL / "start_v2.sql").read_text(),
            "drop function engine_start_v2(bigint, bigint, text[], jsonb[], bigint, bigint, int, int)",
        ),
    ]
