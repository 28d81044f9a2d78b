"""A promise that is broken is told once, and its step has none any more."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


def replacing(name: str) -> str:
    return (SQL / f"{name}.sql").read_text().replace("create function", "create or replace function")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0019_mail")]

    operations = [
        migrations.RunSQL(replacing(name), migrations.RunSQL.noop)
        for name in ("past/repair_v1_second", "past/sweep_v2_second")
    ]
