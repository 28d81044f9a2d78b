"""Claims and sweeps pass over what an old snapshot keeps in their indexes, and a sweep reaches steps by their keys alone."""

import importlib

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Now

earlier = importlib.import_module("orchestration.migrations.0013_flow_columns")
moves = importlib.import_module("orchestration.migrations.0033_moves_of_levers")
# Every flush reads the table: who does not get it lets go and tries again, as there.
OF_WORKERS = earlier.CHANGE.replace("orchestration_run, orchestration_step", "orchestration_worker")
CHANGED = ("flush_v6", "fair_v1", "sweep_v2", "admit_v1")
TO_CLEAR = models.Index(
    fields=["id"], name="worker_to_clear", condition=models.Q(dead_at__isnull=False, cleared_at=None)
)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orchestration", "0044_one_step_alone")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    OF_WORKERS.format(
                        "alter table orchestration_worker add column if not exists cleared_at timestamptz;"
                    ),
                    OF_WORKERS.format("alter table orchestration_worker drop column if exists cleared_at;"),
                )
            ],
            [migrations.AddField("worker", "cleared_at", models.DateTimeField(null=True))],
        ),
        migrations.RunSQL("set lock_timeout = 0", "reset lock_timeout"),
        migrations.RunSQL("drop index concurrently if exists worker_to_clear", migrations.RunSQL.noop),
        AddIndexConcurrently("worker", TO_CLEAR),
        migrations.RunSQL("reset lock_timeout", "set lock_timeout = 0"),
        migrations.RunSQL("drop table if exists orchestration_queuefloor", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="QueueFloor",
            fields=[
                ("queue", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("floor", models.BigIntegerField()),
                ("seen", models.BigIntegerField()),
                ("at", models.DateTimeField(db_default=Now())),
            ],
        ),
        migrations.RunSQL(moves.replacing("floors_v1"), "drop function if exists engine_floors_v1()"),
        *(migrations.RunSQL(moves.replacing(name), moves.replacing(f"past/{name}_seventh")) for name in CHANGED),
    ]
