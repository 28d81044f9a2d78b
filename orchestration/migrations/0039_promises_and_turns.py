"""Promises of how long a run takes, what follows from a failure by its class, and weights of turns."""

import importlib

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

earlier = importlib.import_module("orchestration.migrations.0013_flow_columns")
moves = importlib.import_module("orchestration.migrations.0033_moves_of_levers")
RUN = "expect_at timestamptz, overdue_at timestamptz"
STEP = "on_failure jsonb"
SHARE = "part float8 not null default 0"
CHANGED = (
    "fair_v1",
    "settle_v3",
    "lay_v1",
    "start_v3",
    "launch_v1",
    "spread_v1",
    "round_v1",
    "fork_v1",
    "move_v1",
    "sweep_v2",
)
PROMISED = models.Index(
    fields=["expect_at"],
    name="run_promised",
    condition=models.Q(ended_at=None, overdue_at=None, expect_at__isnull=False),
)


def change(verb):
    """Of tables that are in use: runs and steps are locked at once, or neither. Who holds a row of shares holds some of
    these."""
    tables = {"orchestration_run": RUN, "orchestration_step": STEP, "orchestration_fairshare": SHARE}
    return earlier.CHANGE.format(
        " ".join(f"alter table {table} {earlier.columns(text, verb)};" for table, text in tables.items())
    )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orchestration", "0038_limits_of_moves_and_starts")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(change("add"), change("drop"))],
            [
                migrations.AddField("run", "expect_at", models.DateTimeField(null=True)),
                migrations.AddField("run", "overdue_at", models.DateTimeField(null=True)),
                migrations.AddField("fairshare", "part", models.FloatField(db_default=0)),
            ],
        ),
        migrations.RunSQL("set lock_timeout = 0", "reset lock_timeout"),
        migrations.RunSQL("drop index concurrently if exists run_promised", migrations.RunSQL.noop),
        AddIndexConcurrently("run", PROMISED),
        migrations.RunSQL("reset lock_timeout", "set lock_timeout = 0"),
        migrations.RunSQL(migrations.RunSQL.noop, "drop function if exists engine_weight_v1(text)"),
        migrations.RunSQL(moves.replacing("follows_v1"), "drop function if exists engine_follows_v1(jsonb, jsonb)"),
        *(migrations.RunSQL(moves.replacing(name), moves.replacing(f"past/{name}_fourth")) for name in CHANGED),
        migrations.RunSQL(moves.replacing("past/repair_v1_fifth"), moves.replacing("past/repair_v1_fourth")),
        # On the way back it is the first: what is refused leaves all as it was.
        migrations.RunSQL(migrations.RunSQL.noop, moves.REFUSE.replace("level > 1", "level > 2")),
    ]
