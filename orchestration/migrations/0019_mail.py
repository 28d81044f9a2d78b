"""Events from outside, and the steps that wait for them."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
MOVED = "engine_moved_v1[]"


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0018_levers")]

    operations = [
        migrations.RunSQL(
            (SQL / "past" / "mail_v1_first.sql").read_text(),
            f"drop function engine_match_v1(int), engine_deaf_v1({MOVED}), engine_hear_v1({MOVED}),"
            " engine_heard_v1(bigint, int, int, bigint), engine_listen_v1(jsonb),"
            " engine_deliver_v1(text, bigint, text, text, jsonb, bytea, text, bigint),"
            " engine_mailbox_v1(bigint, text, text)",
        )
    ]
