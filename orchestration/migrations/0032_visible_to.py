"""Roles that see what is in the runs of a definition."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0031_starts")]

    operations = [
        migrations.AddField(
            model_name="definitionversion",
            name="visible_to",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=20), null=True, size=None
            ),
        ),
        # Of versions that were there before the way back.
        migrations.RunSQL(
            "update orchestration_definitionversion v set visible_to = array(select jsonb_array_elements_text(v.plan -> 'visible_to'))"
            " where v.plan ? 'visible_to'",
            migrations.RunSQL.noop,
        ),
        migrations.AddIndex(
            model_name="definitionversion",
            index=models.Index(
                condition=models.Q(visible_to__isnull=False), fields=["definition"], name="version_visible_to"
            ),
        ),
    ]
