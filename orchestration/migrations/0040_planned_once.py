"""Functions that read tables are in PL/pgSQL, which keeps their plans."""

import importlib

from django.db import migrations

replacing = importlib.import_module("orchestration.migrations.0033_moves_of_levers").replacing
CHANGED = ("heads_v1", "rare_v1")


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0039_promises_and_turns")]

    operations = [migrations.RunSQL(replacing(name), replacing(f"past/{name}_fourth")) for name in CHANGED]
