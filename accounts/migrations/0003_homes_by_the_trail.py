"""Whose home the trail tells: made by an organization's admins, and a member or added nowhere else."""

from django.db import migrations

FILL = """
update accounts_user person
set home_id = made.organization_id
from accounts_auditentry made
where made.action = 'member.add' and made.data @> '{"is_new": true}' and made.target = person.username
  and exists (select from accounts_member m where m.user_id = person.id and m.organization_id = made.organization_id)
  and not exists (select from accounts_member m where m.user_id = person.id and m.organization_id <> made.organization_id)
  and not exists (select from accounts_auditentry other where other.action = 'member.add'
                  and other.target = person.username and other.organization_id <> made.organization_id)
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_home")]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
