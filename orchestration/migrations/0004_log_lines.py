"""The lines that steps log, in partitions like the events, and the function that writes and numbers them."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
FUNCTIONS = {
    "past/partitions_v2": "engine_partitions_v2(bigint)",
    "past/housekeeping_v2": "engine_housekeeping_v2(int)",
    "log_v1": "engine_log_v1(bigint[], int[], int[], float8[], text[], text[])",
}


def source(name: str) -> str:
    return (SQL / f"{name}.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0003_start_keys")]

    operations = [
        migrations.RunSQL(source("log_tables"), source("log_tables_drop")),
        *(migrations.RunSQL(source(name), f"drop function {signature}") for name, signature in FUNCTIONS.items()),
        migrations.RunSQL("select engine_partitions_v2()", "select 1"),
        migrations.CreateModel(
            name="LogLine",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("run_id", models.BigIntegerField()),
                ("number", models.IntegerField()),
                ("at", models.DateTimeField()),
                ("key", models.IntegerField()),
                ("attempt", models.IntegerField()),
                ("level", models.CharField(max_length=7)),
                ("text", models.TextField()),
            ],
            options={"db_table": "orchestration_logline", "managed": False},
        ),
        migrations.CreateModel(
            name="LogHead",
            fields=[
                ("run_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("number", models.IntegerField()),
                ("errors", models.IntegerField()),
            ],
            options={"db_table": "orchestration_loghead", "managed": False},
        ),
    ]
