"""The output of a run that went on again is the newest, and is worked out anew though the one before was in hand."""

import importlib

from django.db import migrations

replacing = importlib.import_module("orchestration.migrations.0033_moves_of_levers").replacing
CHANGED = ("settle_v3", "levers_v1")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0041_level_four")]

    operations = [migrations.RunSQL(replacing(name), replacing(f"past/{name}_fifth")) for name in CHANGED]
