from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The open runs of a schedule, and the time of it that waits for their end."""

    atomic = False
    dependencies = [("orchestration", "0015_flow_moves")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    "alter table orchestration_schedule add column if not exists queued_at timestamptz",
                    "alter table orchestration_schedule drop column if exists queued_at",
                )
            ],
            [
                migrations.AddField("schedule", "queued_at", models.DateTimeField(null=True)),
                # The column is there already.
                migrations.RemoveField("schedulefire", "run_id"),
                migrations.AddField(
                    "schedulefire",
                    "run",
                    models.ForeignKey(
                        "orchestration.run",
                        models.DO_NOTHING,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        related_name="+",
                    ),
                ),
            ],
        ),
        # It waits for every older transaction, longer than requests may; one that was cut short left half an index.
        migrations.RunSQL("set lock_timeout = 0", "reset lock_timeout"),
        migrations.RunSQL("drop index concurrently if exists run_of_schedule", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "run",
            models.Index(
                fields=["schedule_id"],
                name="run_of_schedule",
                condition=models.Q(schedule_id__gt=0, ended_at=None),
            ),
        ),
        migrations.RunSQL("reset lock_timeout", "set lock_timeout = 0"),
    ]
