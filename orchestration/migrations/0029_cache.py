"""Answers that steps keep for each other, and the one of them that asks."""

from pathlib import Path

import django.db.models.functions.datetime
from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
FUNCTIONS = (
    "drop function engine_pass_on_v1(int), engine_cache_v1(engine_moved_v1[]),"
    " engine_look_v1(bigint, bytea, text, bigint, int, bigint), engine_flies_v1(bigint, int, bigint, boolean)"
)


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0028_limit_levers")]

    operations = [
        migrations.AddField("cacheentry", "agent", models.CharField(max_length=100, db_default="")),
        migrations.AddField("cacheentry", "fence", models.BigIntegerField(null=True)),
        migrations.AddField("cacheentry", "promised", models.BooleanField(db_default=False)),
        migrations.AddField(
            "cacheentry",
            "made_at",
            models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.CreateModel(
            "CachePlace",
            [
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("organization_id", models.BigIntegerField()),
                ("digest", models.BinaryField()),
                ("run_id", models.BigIntegerField()),
                ("key", models.IntegerField()),
                ("fence", models.BigIntegerField()),
                ("priority", models.SmallIntegerField(db_default=0)),
                ("woken_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["run_id", "key"], name="cache_place_of_step"),
                    models.Index(fields=["organization_id", "digest", "-priority", "id"], name="cache_place_next"),
                    models.Index(
                        fields=["woken_at"],
                        name="cache_place_woken",
                        condition=models.Q(("woken_at__isnull", False)),
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            "cacheentry",
            models.Index(
                fields=["organization_id", "digest"],
                name="cache_entry_flight",
                condition=models.Q(("fence__isnull", False)),
            ),
        ),
        migrations.RunSQL((SQL / "cache_v1.sql").read_text(), FUNCTIONS),
    ]
