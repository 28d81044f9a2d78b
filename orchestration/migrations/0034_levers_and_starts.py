"""What people change of a run that is under way, and what is told of how runs start."""

import importlib
from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
earlier = importlib.import_module("orchestration.migrations.0013_flow_columns")
replacing = importlib.import_module("orchestration.migrations.0033_moves_of_levers").replacing
CHANGED = ("heads_v1", "rewire_v1", "admit_v1")
STEP = "item_window int, item_surplus int"


def change(verb):
    """Of a table that is in use: both are locked at once, or neither."""
    return earlier.CHANGE.format(f"alter table orchestration_step {earlier.columns(STEP, verb)};")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0033_moves_of_levers")]

    operations = [
        migrations.RunSQL(change("add"), change("drop")),
        *(migrations.RunSQL(replacing(name), replacing(f"past/{name}_third")) for name in CHANGED),
        migrations.RunSQL(
            (SQL / "head_levers_v1.sql").read_text(), "drop function engine_widen_v1(bigint, int, int, int, jsonb)"
        ),
        migrations.AddField("startkey", "joined", models.BooleanField(db_default=False)),
    ]
