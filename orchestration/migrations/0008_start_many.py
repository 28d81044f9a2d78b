"""Many runs are started in one statement, and one key may have begun several. Nobody waits for the fair shares.

The bodies of `engine_settle_v2` and `engine_flush_v2` change under their names: what they take and give does not.
"""

from pathlib import Path

import django.contrib.postgres.fields
from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


def replacing(name: str) -> str:
    """Its function alone: types of that file are there already."""
    return "create or replace function " + (SQL / f"{name}.sql").read_text().partition("create function ")[2]


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0007_cancel_keeps_untidy")]

    operations = [
        migrations.AddField(
            model_name="startkey",
            name="runs",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), null=True, size=None),
        ),
        migrations.RunSQL(
            "create index fairshare_clock on orchestration_fairshare (queue, rank desc)", "drop index fairshare_clock"
        ),
        migrations.RunSQL(
            (SQL / "past" / "fair_v1_first.sql").read_text(),
            "drop function engine_share_v1(text[], text[], bigint[]); drop function engine_fair_v1(text, text);"
            " drop function engine_clock_v1(text)",
        ),
        migrations.RunSQL(replacing("past/settle_v2"), replacing("past/settle_v2_first")),
        migrations.RunSQL(replacing("past/flush_v2"), replacing("past/flush_v2_first")),
        migrations.RunSQL(
            (SQL / "past" / "start_v2.sql").read_text(),
            "drop function engine_start_v2(bigint, bigint, text[], jsonb[], bigint, bigint, int, int)",
        ),
    ]
