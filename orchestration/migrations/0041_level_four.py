"""A wait for any of several may have a child among them; workers of the release before claim no step of a run that has one.

From here on a worker says which levels it understands, so that the next level asks for no function of its own."""

import importlib

from django.db import migrations

moves = importlib.import_module("orchestration.migrations.0033_moves_of_levers")
BEFORE = moves.replacing("past/flush_v5")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0040_planned_once")]

    operations = [
        migrations.RunSQL(
            (moves.SQL / "flush_v6.sql").read_text(), f"drop function engine_flush_v6({moves.FLUSHED}, int)"
        ),
        migrations.RunSQL(BEFORE.replace(moves.GOES, f"r.level < 4 and {moves.GOES}"), BEFORE),
        migrations.RunSQL(moves.replacing("repair_v1"), moves.replacing("past/repair_v1_fifth")),
        # On the way back it is the first: what is refused leaves all as it was.
        migrations.RunSQL(migrations.RunSQL.noop, moves.REFUSE.replace("level > 1", "level > 3")),
    ]
