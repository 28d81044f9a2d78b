"""Plain steps in a row are moved by one statement."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
GIVEN = "bigint, jsonb, jsonb, text[]"


def replacing(name: str) -> str:
    return (SQL / f"{name}.sql").read_text().replace("create function", "create or replace function")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0034_levers_and_starts")]

    operations = [
        migrations.RunSQL(
            (SQL / "chain_v1.sql").read_text(), "drop function engine_chain_v1(bigint, jsonb, jsonb, text[])"
        ),
        migrations.RunSQL(replacing("past/flush_v4"), replacing("past/flush_v4_first")),
    ]
