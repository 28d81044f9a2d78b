"""Claims and sweeps pass over what an old snapshot keeps in the indexes of what is ready and of what runs; a sweep reaches steps by
their keys alone."""

import importlib

from django.db import migrations, models
from django.db.models.functions import Now

earlier = importlib.import_module("orchestration.migrations.0013_flow_columns")
moves = importlib.import_module("orchestration.migrations.0033_moves_of_levers")
# Every flush reads the table: who does not get it lets go and tries again, as there. It is small, so its index is made at once.
OF_WORKERS = earlier.CHANGE.replace("orchestration_run, orchestration_step", "orchestration_worker")
ADD = """
    alter table orchestration_worker add column if not exists cleared_at timestamptz;
    create index if not exists worker_to_clear on orchestration_worker (id) where dead_at is not null and cleared_at is null;
"""
DROP = "alter table orchestration_worker drop column if exists cleared_at;"
TABLE = """
create table if not exists orchestration_queuefloor (
    queue text primary key, floor bigint not null, seen bigint not null, look_at timestamptz not null default statement_timestamp())
"""
CHANGED = ("flush_v6", "fair_v1", "sweep_v2", "admit_v1")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orchestration", "0044_one_step_alone")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(OF_WORKERS.format(ADD), OF_WORKERS.format(DROP)),
                migrations.RunSQL(TABLE, "drop table if exists orchestration_queuefloor"),
            ],
            [
                migrations.AddField("worker", "cleared_at", models.DateTimeField(null=True)),
                migrations.AddIndex(
                    "worker",
                    models.Index(
                        fields=["id"],
                        name="worker_to_clear",
                        condition=models.Q(dead_at__isnull=False, cleared_at=None),
                    ),
                ),
                migrations.CreateModel(
                    name="QueueFloor",
                    fields=[
                        ("queue", models.TextField(primary_key=True, serialize=False)),
                        ("floor", models.BigIntegerField()),
                        ("seen", models.BigIntegerField()),
                        ("look_at", models.DateTimeField(db_default=Now())),
                    ],
                ),
            ],
        ),
        migrations.RunSQL(
            moves.replacing("floors_v1"),
            "drop function if exists engine_floors_v1(); drop function if exists engine_first_v1(text)",
        ),
        *(migrations.RunSQL(moves.replacing(name), moves.replacing(f"past/{name}_seventh")) for name in CHANGED),
    ]
