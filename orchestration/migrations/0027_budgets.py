"""Budgets are charged and raised, and say that a sweep is to look at them."""

from pathlib import Path

from django.db import migrations, models
from django.db.models import F
from django.db.models.functions import Cast, Greatest

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
DROPPED = "engine_charge_v1(engine_moved_v1[]), engine_unasked_v1(bigint[]), engine_raise_v1(bigint, jsonb, jsonb, timestamptz)"


def share_of(name):
    return Cast(F(f"spent_{name}"), models.FloatField()) / Cast(F(name), models.FloatField())


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0026_undo")]

    operations = [
        migrations.RemoveIndex(model_name="budget", name="budget_unasked"),
        migrations.AddField(model_name="budget", name="due", field=models.BooleanField(db_default=False)),
        migrations.AddField(
            model_name="budget",
            name="share",
            field=models.GeneratedField(
                db_persist=True,
                expression=Greatest(share_of("usd"), share_of("tokens"), share_of("runs")),
                output_field=models.FloatField(),
            ),
        ),
        migrations.AddIndex(
            model_name="budget",
            index=models.Index(condition=models.Q(due=True), fields=["run_id"], name="budget_due"),
        ),
        migrations.RunSQL((SQL / "budgets_v1.sql").read_text(), f"drop function {DROPPED}"),
    ]
