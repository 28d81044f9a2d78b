"""Items and passes that are laid in a paused run, passes of waits that begin later, and which of several events is the first."""

import importlib

from django.db import migrations

replacing = importlib.import_module("orchestration.migrations.0033_moves_of_levers").replacing
CHANGED = ("spread_v1", "levers_v1", "repair_v1", "mail_v1")
# Of runs that go on, nothing is parked: what is, was laid while they were paused.
FREE = """
update orchestration_step s set priority = r.priority
from (select r.id, r.priority from orchestration_run r where r.ended_at is null and r.status <> 'paused' order by r.id for no key update) r
where s.run_id = r.id and s.priority = -32768 and s.status in ('blocked', 'ready', 'running', 'waiting', 'uncertain')
"""


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0035_chains")]

    operations = [
        *(migrations.RunSQL(replacing(name), replacing(f"past/{name}_third")) for name in CHANGED),
        migrations.RunSQL(FREE, migrations.RunSQL.noop),
    ]
