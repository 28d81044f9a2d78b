"""A step that was begun before its run is moved is held to the limits of the newer version when it is tried again."""

import importlib

from django.db import migrations

replacing = importlib.import_module("orchestration.migrations.0033_moves_of_levers").replacing


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0036_passes_and_pauses")]

    operations = [migrations.RunSQL(replacing("move_v1"), replacing("past/move_v1_fourth"))]
