"""A message counts once in its run, an event once in its organization; and the functions that keep them, at the same moment."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
NEW = """
drop function engine_hand_v1(bigint), engine_message_v1(bigint, jsonb, text, text, jsonb, bytea, jsonb, text, bigint, jsonb)
"""


def replacing(name: str) -> str:
    return (SQL / f"{name}.sql").read_text().replace("create function", "create or replace function")


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
        # Going back, a message may have the name that its sender gave an event too.
        migrations.RunSQL(
            migrations.RunSQL.noop, "update orchestration_outsideevent set sender_id = null where run_id is not null"
        ),
        migrations.RunSQL(replacing("mail_v1"), replacing("past/mail_v1_first") + NEW),
    ]
