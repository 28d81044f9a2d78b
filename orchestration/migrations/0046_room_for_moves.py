"""A page of runs keeps four fifths free for what its runs become. While an old snapshot is held nothing of that is removed, and a run that
must move to another page is entered anew in each index."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0045_floors_of_queues")]

    operations = [
        migrations.RunSQL(
            "alter table orchestration_run set (fillfactor = 20)", "alter table orchestration_run set (fillfactor = 40)"
        ),
    ]
