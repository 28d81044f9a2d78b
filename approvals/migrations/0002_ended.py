from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):
    """The last questions to end, without a look at all that ever did. People may answer meanwhile."""

    atomic = False
    dependencies = [("approvals", "0001_initial")]

    operations = [
        # It waits for every older transaction, longer than requests may; one that was cut short left half an index.
        migrations.RunSQL("set lock_timeout = 0", "reset lock_timeout"),
        migrations.RunSQL("drop index concurrently if exists requests_ended", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="request",
            index=models.Index(
                "organization",
                Coalesce("decided_at", "acknowledged_at").desc(),
                F("id").desc(),
                condition=~Q(status="pending"),
                name="requests_ended",
            ),
        ),
        migrations.RunSQL("reset lock_timeout", "set lock_timeout = 0"),
    ]
