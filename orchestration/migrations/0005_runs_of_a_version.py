from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The newest run of a definition, without a look at the runs of all others. Runs may start meanwhile."""

    atomic = False
    dependencies = [("orchestration", "0004_log_lines")]

    operations = [
        AddIndexConcurrently(
            model_name="run",
            index=models.Index(fields=["definition_version", "-id"], name="run_of_version"),
        )
    ]
