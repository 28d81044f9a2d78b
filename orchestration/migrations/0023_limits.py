"""Limits of steps: slots and units, lines for them, and who is next."""

from pathlib import Path

from django.db import migrations, models
from django.db.models import Q

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
DROPPED = """
drop function engine_acquire_v1(bigint, bigint, int, bigint, jsonb), engine_release_v1(bigint[], int[]), engine_stirred_v1(),
    engine_tend_v1(bigint[]), engine_call_v1(bigint[]), engine_room_at_v1(bigint, bigint, float8), engine_limits_v1(bigint, jsonb, bigint[])
"""


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0022_flow_heads")]

    operations = [
        migrations.AddField("limitslot", "stirred_at", models.DateTimeField(null=True)),
        migrations.AddField("limitplace", "stirred_at", models.DateTimeField(null=True)),
        migrations.AddField("limitplace", "units", models.IntegerField(db_default=1)),
        migrations.AddField("ratehit", "units", models.IntegerField(db_default=1)),
        migrations.AddIndex(
            "limitslot",
            models.Index(fields=["limit_id"], name="limit_slot_stirred", condition=Q(stirred_at__isnull=False)),
        ),
        migrations.AddIndex(
            "limitplace",
            models.Index(fields=["limit_id"], name="limit_place_stirred", condition=Q(stirred_at__isnull=False)),
        ),
        migrations.RunSQL((SQL / "limits_v1.sql").read_text(), DROPPED),
    ]
