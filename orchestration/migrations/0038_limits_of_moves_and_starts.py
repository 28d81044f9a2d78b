"""What was begun before its run is moved is held to the newer version's limits when it is tried again; starts whose turn is yet to
come heed another rate; who waits in another's place keeps its claim to it."""

import importlib

from django.db import migrations

replacing = importlib.import_module("orchestration.migrations.0033_moves_of_levers").replacing
CHANGED = ("move_v1", "limit_levers_v1", "admit_v1")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0037_level_three")]

    operations = [migrations.RunSQL(replacing(name), replacing(f"past/{name}_fourth")) for name in CHANGED]
