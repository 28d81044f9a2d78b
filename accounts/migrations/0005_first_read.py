from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_saved_views"),
    ]

    operations = [
        migrations.AddField("member", "first_read_at", models.DateTimeField(editable=False, null=True)),
    ]
