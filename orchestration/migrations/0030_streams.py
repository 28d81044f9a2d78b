"""Values that steps hand out while they run are written in batches."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
NO_FUNCTION = "drop function engine_emit_v1(bigint[], int[], int[], float8[], text[], text[])"


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0029_cache")]

    operations = [
        migrations.RunSQL(
            (SQL / "streams_v1.sql").read_text(),
            [NO_FUNCTION, "alter table orchestration_streamvalue drop column attempt"],
        )
    ]
