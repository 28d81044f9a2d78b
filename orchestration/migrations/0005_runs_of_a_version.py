from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The newest run of a definition, without a look at the runs of all others. Runs may start meanwhile."""

    atomic = False
    dependencies = [("orchestration", "0004_log_lines")]

    operations = [
        # It waits for every older transaction, longer than requests may; one that was cut short left half an index.
        migrations.RunSQL("set lock_timeout = 0", "reset lock_timeout"),
        migrations.RunSQL("drop index concurrently if exists run_of_version", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="run",
            index=models.Index(fields=["definition_version", "-id"], name="run_of_version"),
        ),
        migrations.RunSQL("reset lock_timeout", "set lock_timeout = 0"),
    ]
