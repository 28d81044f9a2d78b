"""People's own doors: signing in and out, members and tokens over the API, `create_token`, the walls of the admin."""

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import ApiToken, AuditEntry, Member, Organization, Role, User

pytestmark = pytest.mark.django_db
PASSWORD = "correct-horse-battery"


@pytest.fixture
def house() -> Organization:
    return Organization.objects.create(slug="global", name="Global")


def member(organization: Organization, name: str, *roles: str, staff: bool = False) -> Member:
    user = User.objects.create_user(username=name, password=PASSWORD, is_staff=staff)
    return Member.objects.create(user=user, organization=organization, roles=list(roles))


def api(of: Member, *scopes: str) -> APIClient:
    _, plaintext = ApiToken.issue(member=of, name="test", scopes=scopes, expires_at=None, by=None)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {plaintext}")
    return client


def test_signing_in_leads_home_and_out_again(house, client: Client):
    member(house, "ada", Role.VIEWER)
    assert client.get("/").headers["Location"].startswith("/accounts/login/")
    answer = client.post("/accounts/login/", {"login": "ada", "password": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert client.get("/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/").status_code == 302


def test_a_wrong_password_says_so_and_signs_nobody_in(house, client: Client):
    member(house, "ada", Role.VIEWER)
    answer = client.post("/accounts/login/", {"login": "ada", "password": "wrong"})
    assert answer.status_code == 200
    assert b"not correct" in answer.content
    assert client.get("/").status_code == 302


def test_me_tells_who_asks_and_what_they_may(house):
    answer = api(member(house, "ada", Role.OPERATOR)).get("/api/v1/me/")
    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["roles"]) == ("ada", ["operator"])


def test_only_an_admin_lists_members_and_reads_the_trail(house):
    operator, admin = member(house, "ada", Role.OPERATOR), member(house, "bea", Role.ADMIN)
    member(Organization.objects.create(slug="other", name="Other"), "eve", Role.ADMIN)
    assert api(operator).get("/api/v1/members/").status_code == 403
    assert api(operator).get("/api/v1/audit/").status_code == 403
    names = {row["name"] for row in api(admin).get("/api/v1/members/").json()["results"]}
    assert names == {"ada", "bea"}
    assert api(admin).get("/api/v1/audit/").json()["results"][0]["action"] == "token.issue"


def test_a_token_is_made_shown_once_and_revoked(house):
    ada = api(member(house, "ada", Role.OPERATOR))
    made = ada.post("/api/v1/tokens/", {"name": "ci", "scopes": ["read"]}, format="json")
    assert made.status_code == 201
    assert made.json()["token"].startswith("cs_")
    listed = ada.get("/api/v1/tokens/").json()["results"]
    assert all("token" not in row for row in listed)
    assert ada.delete(f"/api/v1/tokens/{made.json()['id']}/").status_code == 204
    fresh = APIClient()
    fresh.credentials(HTTP_AUTHORIZATION=f"Bearer {made.json()['token']}")
    assert fresh.get("/api/v1/me/").status_code == 401
    assert AuditEntry.objects.filter(action="token.revoke").count() == 1


def test_the_command_prints_the_token_alone_on_its_last_line(house, capsys):
    member(house, "ada", Role.OPERATOR)
    call_command("create_token", "--member", "ada")
    plaintext = capsys.readouterr().out.strip().splitlines()[-1]
    assert ApiToken.authenticate(plaintext).member.name == "ada"
    with pytest.raises(CommandError):
        call_command("create_token", "--member", "nobody")


@pytest.mark.parametrize("page", ["orchestration/run", "approvals/request", "agents/agent", "orchestration/definition"])
def test_staff_read_their_own_organization_in_the_admin_and_write_nothing(house, client: Client, page: str):
    member(house, "ada", Role.APPROVER, staff=True)
    client.login(username="ada", password=PASSWORD)
    assert client.get(f"/admin/{page}/").status_code == 200
    assert client.get(f"/admin/{page}/add/").status_code == 403
    assert client.get("/admin/accounts/apitoken/").status_code == 403


def test_the_admin_shows_staff_no_other_organization(house, client: Client):
    other = Organization.objects.create(slug="other", name="Other House")
    agent = other.agents.create(slug="secret-agent", kind="tool", title="Secret")
    member(house, "ada", Role.APPROVER, staff=True)
    client.login(username="ada", password=PASSWORD)
    listed = client.get("/admin/agents/agent/").content
    assert b"secret-agent" not in listed
    assert b"Other House" not in listed
    assert client.get(f"/admin/agents/agent/{agent.pk}/change/").status_code == 302


def test_who_is_not_staff_does_not_get_into_the_admin(house, client: Client):
    member(house, "ada", Role.ADMIN)
    client.login(username="ada", password=PASSWORD)
    assert client.get("/admin/orchestration/run/").status_code == 302
