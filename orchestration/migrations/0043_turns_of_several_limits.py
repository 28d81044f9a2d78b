"""Of several that are called up by different limits, the first has all that it wants."""

import importlib

from django.db import migrations

replacing = importlib.import_module("orchestration.migrations.0033_moves_of_levers").replacing


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0042_output_again")]

    operations = [migrations.RunSQL(replacing("limits_v1"), replacing("past/limits_v1_fifth"))]
