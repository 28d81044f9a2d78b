"""What a site needs before it is used: tables, people with tokens, agents and definitions."""

from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from accounts.models import ApiToken, Member, Organization, Role, User
from agents import seeding as agents
from approvals.seeding import seed_policies
from config.up.services import ROLE, Postgres

LIBRARY = Path(__file__).parent / "library"
# Who claimed what, and when: a step's row forgets it. For the audit alone.
LEDGER = """
create table drill_claim (run_id bigint, key int, fence bigint, pid int, at timestamptz);
create function drill_claim() returns trigger language plpgsql as $$
begin
    insert into drill_claim select new.run_id, new.key, new.fence, w.pid, clock_timestamp()
    from orchestration_worker w where w.id = new.owner;
    return null;
end $$;
create trigger drill_claim after update of fence on orchestration_step
for each row when (new.status = 'running' and new.fence <> old.fence) execute function drill_claim();
"""
PEOPLE = (Role.VIEWER, Role.OPERATOR, Role.APPROVER)


def prepare(postgres: Postgres) -> dict[str, str]:
    """From this process, which is quicker than a command for each; the tokens, by role."""
    connection.settings_dict.update(HOST=str(postgres.sockets), PORT="", USER=ROLE, PASSWORD="", NAME=ROLE)
    connection.settings_dict["OPTIONS"].pop("pool")  # nothing of it is to stay open
    try:
        call_command("migrate", verbosity=0, interactive=False)
        with connection.cursor() as cursor:
            cursor.execute(LEDGER)
        organization = Organization.objects.create(slug="global", name="Global")
        seed_policies(organization)
        agents.seed_agents(organization)
        agents.apply(LIBRARY / "agents", organization=organization)
        call_command("definitions", "apply", str(LIBRARY / "definitions"), stdout=StringIO())
        return {role.value: _token(organization, role) for role in PEOPLE}
    finally:
        connection.close()


def _token(organization: Organization, role: Role) -> str:
    user = User.objects.create(username=role.value)
    member = Member.objects.create(user=user, organization=organization, roles=[role.value])
    return ApiToken.issue(member=member, name="chaos", scopes=[], expires_at=None, by=None)[1]
