"""Workers of the release before claim no step of a run that uses what they do not know."""

import importlib

from django.db import migrations

moves = importlib.import_module("orchestration.migrations.0033_moves_of_levers")
BEFORE = moves.replacing("past/flush_v4")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0036_passes_and_pauses")]

    operations = [
        migrations.RunSQL(
            (moves.SQL / "past/flush_v5.sql").read_text(), f"drop function engine_flush_v5({moves.FLUSHED})"
        ),
        migrations.RunSQL(BEFORE.replace(moves.GOES, f"r.level < 3 and {moves.GOES}"), BEFORE),
        # On the way back it is the first: what is refused leaves all as it was.
        migrations.RunSQL(migrations.RunSQL.noop, moves.REFUSE.replace("level > 1", "level > 2")),
    ]
