"""A run ends with its last step, where that is alone, by short statements; a flush says how many steps it took from the queues."""

import importlib

from django.db import migrations

replacing = importlib.import_module("orchestration.migrations.0033_moves_of_levers").replacing


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0047_open_runs_by_their_times")]

    operations = [
        migrations.RunSQL(replacing(name), replacing(f"past/{name}_ninth")) for name in ("flush_one_v1", "flush_v6")
    ]
