"""Limits are changed while runs are held to them."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0027_budgets")]

    operations = [
        migrations.AlterField(
            "limit",
            "kind",
            models.CharField(
                choices=[
                    ("steps", "Steps at once"),
                    ("rate", "Steps in a time"),
                    ("starts", "Runs at once"),
                    ("start_rate", "Starts in a time"),
                    ("budget", "Budget"),
                ],
                max_length=12,
            ),
        ),
        migrations.RunSQL(
            (SQL / "limit_levers_v1.sql").read_text(), "drop function engine_limit_v1(bigint, int, float8, bigint)"
        ),
    ]
