"""What a run did is taken back before it ends, if it fails or is canceled."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0025_forks")]

    operations = [
        migrations.RunSQL((SQL / "undo_v1.sql").read_text(), "drop function engine_undo_v1(bigint[])"),
    ]
