"""A sweep cannot read all open runs, and with them all that ended while an old snapshot is held, for those with a deadline or a promise."""

import importlib

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

moves = importlib.import_module("orchestration.migrations.0033_moves_of_levers")


def none_of(*columns):
    none = "num_nonnulls(%(expressions)s) = 0"
    return models.Func(*columns, template=none, output_field=models.BooleanField())


NEW = (
    models.Index(
        fields=["deadline_at"],
        name="run_with_deadline",
        condition=models.Q(none_of("ended_at"), deadline_at__isnull=False),
    ),
    models.Index(
        fields=["expect_at"],
        name="run_with_promise",
        condition=models.Q(none_of("ended_at", "overdue_at"), expect_at__isnull=False),
    ),
)
OLD = ("run_overdue", "run_promised")


def left(name):
    """What was cut short leaves an index that is not valid."""
    return f"drop index concurrently if exists {name}"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orchestration", "0046_room_for_moves")]

    operations = [
        migrations.RunSQL("set lock_timeout = 0", "reset lock_timeout"),
        *(migrations.RunSQL(left(index.name), migrations.RunSQL.noop) for index in NEW),
        *(AddIndexConcurrently("run", index) for index in NEW),
        migrations.RunSQL(moves.replacing("sweep_v2"), moves.replacing("past/sweep_v2_eighth")),
        *(RemoveIndexConcurrently("run", name) for name in OLD),
        *(migrations.RunSQL(migrations.RunSQL.noop, left(name)) for name in OLD),
        migrations.RunSQL("reset lock_timeout", "set lock_timeout = 0"),
    ]
