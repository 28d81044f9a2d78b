"""A message counts once in its run, an event once in its organization."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0023_limits")]

    operations = [
        migrations.RemoveConstraint(model_name="outsideevent", name="outside_event_once"),
        migrations.AddConstraint(
            model_name="outsideevent",
            constraint=models.UniqueConstraint(
                fields=("organization", "sender_id"),
                condition=models.Q(sender_id__isnull=False, run=None),
                name="outside_event_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="outsideevent",
            constraint=models.UniqueConstraint(
                fields=("run", "sender_id"),
                condition=models.Q(sender_id__isnull=False, run__isnull=False),
                name="message_once",
            ),
        ),
    ]
