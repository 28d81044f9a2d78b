"""Tables of what runs share, wait for and hand out: events from outside, limits, budgets, schedules, caches, streams."""

from pathlib import Path

from django.contrib.postgres.functions import RandomUUID
from django.db import migrations, models
from django.db.models.functions import Cast, Concat, Now

NUMBER = ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))
LIMIT_ID = Concat(models.Value("lim_"), Cast(RandomUUID(), models.TextField()))


def source(name):
    return (Path(__file__).resolve().parent.parent / "engine" / "sql" / f"{name}.sql").read_text()


def key(*fields):
    return ("pk", models.CompositePrimaryKey(*fields, blank=True, editable=False, primary_key=True, serialize=False))


def link(to, on_delete=models.DO_NOTHING, **given):
    return models.ForeignKey(to, on_delete, db_constraint=False, **given)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_saved_views"), ("orchestration", "0011_moves_without_detour")]

    operations = [
        migrations.CreateModel(
            name="Debounce",
            fields=[
                key("definition_id", "key"),
                ("organization_id", models.BigIntegerField()),
                ("definition_id", models.BigIntegerField()),
                ("key", models.CharField(max_length=200)),
                ("run_id", models.BigIntegerField()),
                ("first_at", models.DateTimeField()),
                ("starts", models.IntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="RateHit",
            fields=[
                key("limit_id", "upto"),
                ("limit_id", models.BigIntegerField()),
                ("upto", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("run_id", models.BigIntegerField(null=True)),
                ("key", models.IntegerField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Tree",
            fields=[
                ("root_run_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("runs", models.IntegerField()),
            ],
        ),
        migrations.AddField(model_name="definition", name="archived_at", field=models.DateTimeField(null=True)),
        migrations.AddField(
            model_name="definition", name="rollout_percent", field=models.PositiveSmallIntegerField(null=True)
        ),
        migrations.AddField(
            model_name="definition",
            name="rollout_version",
            field=link("orchestration.definitionversion", models.PROTECT, null=True, related_name="+"),
        ),
        migrations.CreateModel(
            name="Budget",
            fields=[
                ("run_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("usd", models.DecimalField(decimal_places=8, max_digits=20, null=True)),
                ("tokens", models.BigIntegerField(null=True)),
                ("runs", models.IntegerField(null=True)),
                ("soft", models.FloatField(null=True)),
                ("policy", models.CharField(max_length=50)),
                ("spent_usd", models.DecimalField(db_default=0, decimal_places=8, max_digits=20)),
                ("spent_tokens", models.BigIntegerField(db_default=0)),
                ("spent_runs", models.IntegerField(db_default=0)),
                ("warned_at", models.DateTimeField(null=True)),
                ("exceeded_at", models.DateTimeField(null=True)),
                ("asked_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("asked_at", None), ("exceeded_at__isnull", False)),
                        fields=["exceeded_at"],
                        name="budget_unasked",
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="Bulk",
            fields=[
                NUMBER,
                ("public_id", models.CharField(max_length=40, unique=True)),
                ("action", models.CharField(max_length=40)),
                ("filters", models.JSONField()),
                ("given", models.JSONField()),
                ("reason", models.TextField()),
                ("total", models.IntegerField()),
                ("done", models.IntegerField(db_default=0)),
                ("started_at", models.DateTimeField(db_default=Now())),
                ("ended_at", models.DateTimeField(null=True)),
                ("by", link("accounts.member", models.PROTECT, related_name="+")),
                ("organization", link("accounts.organization", models.PROTECT, related_name="+")),
            ],
            options={
                "indexes": [models.Index(condition=models.Q(("ended_at", None)), fields=["id"], name="bulk_open")]
            },
        ),
        migrations.CreateModel(
            name="BulkItem",
            fields=[
                key("bulk_id", "run_id"),
                ("run_id", models.BigIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[("open", "Open"), ("done", "Done"), ("refused", "Refused")],
                        default="open",
                        max_length=12,
                    ),
                ),
                ("words", models.TextField(default="")),
                (
                    "bulk",
                    models.ForeignKey(
                        db_index=False, on_delete=models.CASCADE, related_name="items", to="orchestration.bulk"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "open")), fields=["bulk", "run_id"], name="bulk_item_open"
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="CacheEntry",
            fields=[
                key("organization_id", "digest"),
                ("organization_id", models.BigIntegerField()),
                ("digest", models.BinaryField()),
                ("output", models.JSONField(null=True)),
                ("output_digest", models.BinaryField(null=True)),
                ("run_id", models.BigIntegerField()),
                ("key", models.IntegerField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["expires_at"], name="cache_entry_expires"),
                    models.Index(
                        condition=models.Q(("output_digest__isnull", False)),
                        fields=["output_digest"],
                        name="cache_entry_output",
                    ),
                ]
            },
        ),
        migrations.CreateModel(
            name="EventWait",
            fields=[
                key("run_id", "key", "number"),
                ("run_id", models.BigIntegerField()),
                ("key", models.IntegerField()),
                ("number", models.IntegerField()),
                ("organization_id", models.BigIntegerField()),
                ("name", models.CharField(max_length=200)),
                ("event_key", models.CharField(max_length=200)),
                ("fence", models.BigIntegerField()),
                ("since", models.DateTimeField()),
                ("event_id", models.BigIntegerField(null=True)),
                ("becomes", models.CharField(max_length=12)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organization_id", "name", "event_key"], name="event_wait_of_name"),
                    models.Index(
                        condition=models.Q(("event_id__isnull", False)), fields=["event_id"], name="event_wait_met"
                    ),
                ]
            },
        ),
        migrations.CreateModel(
            name="Limit",
            fields=[
                NUMBER,
                ("public_id", models.CharField(max_length=40, unique=True, db_default=LIMIT_ID)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("steps", "Steps"),
                            ("rate", "Rate"),
                            ("starts", "Starts"),
                            ("start_rate", "Start Rate"),
                            ("budget", "Budget"),
                        ],
                        max_length=12,
                    ),
                ),
                ("key", models.CharField(max_length=500)),
                ("max", models.IntegerField(null=True)),
                ("per", models.FloatField(null=True)),
                ("max_override", models.IntegerField(null=True)),
                ("per_override", models.FloatField(null=True)),
                ("taken", models.IntegerField(db_default=0)),
                ("promised", models.IntegerField(db_default=0)),
                ("total", models.BigIntegerField(db_default=0)),
                ("used_at", models.DateTimeField(db_default=Now())),
                ("changed_at", models.DateTimeField(null=True)),
                ("changed_by", link("accounts.member", db_index=False, null=True, related_name="+")),
                ("organization", link("accounts.organization", db_index=False)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("organization", "kind", "key"), name="limit_once")]
            },
        ),
        migrations.CreateModel(
            name="LimitPlace",
            fields=[
                NUMBER,
                ("limit_id", models.BigIntegerField()),
                ("run_id", models.BigIntegerField()),
                ("key", models.IntegerField()),
                ("fence", models.BigIntegerField()),
                ("priority", models.SmallIntegerField(db_default=0)),
                ("since", models.DateTimeField(db_default=Now())),
                ("woken_at", models.DateTimeField(null=True)),
                ("evicts", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "orchestration_limitqueue",
                "indexes": [
                    models.Index(fields=["run_id", "key"], name="limit_place_of_step"),
                    models.Index(
                        condition=models.Q(("woken_at__isnull", False)), fields=["woken_at"], name="limit_place_woken"
                    ),
                    models.Index(
                        condition=models.Q(("woken_at", None)),
                        fields=["limit_id", "-priority", "id"],
                        name="limit_place_next",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LimitSlot",
            fields=[
                key("limit_id", "run_id", "key"),
                ("limit_id", models.BigIntegerField()),
                ("run_id", models.BigIntegerField()),
                ("key", models.IntegerField()),
                ("fence", models.BigIntegerField()),
                ("since", models.DateTimeField(db_default=Now())),
            ],
            options={"indexes": [models.Index(fields=["run_id", "key"], name="limit_slot_of_step")]},
        ),
        migrations.CreateModel(
            name="OutsideEvent",
            fields=[
                NUMBER,
                ("public_id", models.CharField(max_length=40, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("key", models.CharField(db_default="", max_length=200)),
                ("data", models.JSONField(null=True)),
                ("data_digest", models.BinaryField(null=True)),
                ("reply", models.JSONField(null=True)),
                ("sender_id", models.CharField(max_length=200, null=True)),
                ("received_at", models.DateTimeField(db_default=Now())),
                ("matched_at", models.DateTimeField(null=True)),
                ("taken_key", models.IntegerField(null=True)),
                ("by", link("accounts.member", db_index=False, null=True, related_name="+")),
                ("organization", link("accounts.organization", db_index=False)),
                ("run", link("orchestration.run", db_index=False, null=True, related_name="messages")),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organization", "name", "key", "id"], name="outside_event_of_name"),
                    models.Index(
                        condition=models.Q(("run__isnull", False)), fields=["run", "id"], name="outside_event_of_run"
                    ),
                    models.Index(condition=models.Q(("matched_at", None)), fields=["id"], name="outside_event_pending"),
                    models.Index(
                        condition=models.Q(("data_digest__isnull", False)),
                        fields=["data_digest"],
                        name="outside_event_digest",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("sender_id__isnull", False)),
                        fields=("organization", "sender_id"),
                        name="outside_event_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                NUMBER,
                ("public_id", models.CharField(max_length=40, unique=True)),
                ("place", models.PositiveSmallIntegerField()),
                ("cron", models.CharField(max_length=200)),
                ("zone", models.CharField(max_length=64)),
                ("nth", models.PositiveSmallIntegerField(default=0)),
                (
                    "overlap",
                    models.CharField(
                        choices=[
                            ("skip", "Skip"),
                            ("queue", "Queue"),
                            ("cancel_oldest", "Cancel Oldest"),
                            ("allow", "Allow"),
                        ],
                        max_length=13,
                    ),
                ),
                ("jitter_seconds", models.FloatField(default=0)),
                (
                    "backfill",
                    models.CharField(choices=[("last", "Last"), ("none", "None"), ("all", "All")], max_length=4),
                ),
                ("given", models.JSONField(null=True)),
                ("next_at", models.DateTimeField(null=True)),
                ("last_at", models.DateTimeField(null=True)),
                ("paused_at", models.DateTimeField(null=True)),
                ("dropped_at", models.DateTimeField(null=True)),
                ("definition", link("orchestration.definition", models.CASCADE, related_name="schedules")),
                ("organization", link("accounts.organization", models.PROTECT, related_name="+")),
                ("paused_by", link("accounts.member", models.PROTECT, null=True, related_name="+")),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("dropped_at", None), ("paused_at", None)),
                        fields=["next_at"],
                        name="schedule_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("definition", "cron", "zone", "nth"), name="schedule_times_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="ScheduleFire",
            fields=[
                key("schedule_id", "planned_at"),
                ("planned_at", models.DateTimeField()),
                ("at", models.DateTimeField(db_default=Now())),
                ("run_id", models.BigIntegerField(null=True)),
                ("why", models.TextField(null=True)),
                (
                    "schedule",
                    models.ForeignKey(
                        db_index=False, on_delete=models.CASCADE, related_name="fires", to="orchestration.schedule"
                    ),
                ),
            ],
        ),
        migrations.RunSQL(source("stream_tables"), source("stream_tables_drop")),
        migrations.RunSQL(
            [source("past/partitions_v3"), "select engine_partitions_v3()"],
            "drop function engine_partitions_v3(bigint)",
        ),
        migrations.CreateModel(
            name="StreamValue",
            fields=[
                key("run_id", "name", "number"),
                ("run_id", models.BigIntegerField()),
                ("name", models.CharField(max_length=100)),
                ("number", models.IntegerField()),
                ("key", models.IntegerField()),
                ("at", models.DateTimeField()),
                ("value", models.JSONField()),
            ],
            options={"db_table": "orchestration_streamvalue", "managed": False},
        ),
        migrations.CreateModel(
            name="StreamHead",
            fields=[
                key("run_id", "name"),
                ("run_id", models.BigIntegerField()),
                ("name", models.CharField(max_length=100)),
                ("number", models.IntegerField()),
            ],
            options={"db_table": "orchestration_streamhead", "managed": False},
        ),
    ]
