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
PEOPLE = (Role.VIEWER, Role.OPERATOR, Role.APPROVER)


def prepare(postgres: Postgres) -> dict[str, str]:
    """From this process, which is quicker than a command for each; the tokens, by role."""
    connection.settings_dict.update(HOST=str(postgres.sockets), PORT="", USER=ROLE, PASSWORD="", NAME=ROLE)
    connection.settings_dict["OPTIONS"].pop("pool")  # nothing of it is to stay open
    try:
        call_command("migrate", verbosity=0, interactive=False)
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
