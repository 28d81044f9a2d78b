"""Members, tokens, the trail and the organization one looks at, as pages."""

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test import Client

from accounts.exceptions import LastAdmin
from accounts.models import ApiToken, AuditEntry, Member, Organization, User, expiry_in
from tests.accounts.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture
def elsewhere(house):
    return Organization.objects.create(slug="other", name="Other House")


def test_a_token_is_shown_once_and_works(person, signed_in):
    client = signed_in(person("ada", "operator"))
    made = client.post("/settings/tokens/", {"name": "ci", "scopes": ["read"], "expires_in": "30"})
    plaintext = made.context["plaintext"]
    assert plaintext in made.content.decode()
    assert plaintext not in client.get("/settings/tokens/").content.decode()
    assert ApiToken.authenticate(plaintext).scopes == ["read"]


def test_a_token_asks_for_the_password_again_and_then_goes_on(person, signed_in):
    client = signed_in(person("ada"), surely=False)
    asked = client.post("/settings/tokens/", {"name": "ci", "expires_in": ""})
    assert asked.headers["Location"].startswith("/accounts/reauthenticate/")
    assert ApiToken.objects.count() == 0
    made = client.post(asked.headers["Location"], {"password": PASSWORD, "next": "/settings/tokens/"})
    assert made.context["plaintext"].startswith("cs_")
    assert ApiToken.objects.get().name == "ci"


def test_a_token_over_the_api_from_a_browser_asks_too(person, signed_in):
    ada = person("ada")
    words = {"data": {"name": "ci"}, "content_type": "application/json"}
    assert signed_in(ada, surely=False).post("/api/v1/tokens/", **words).status_code == 403
    assert signed_in(ada).post("/api/v1/tokens/", **words).status_code == 201


def test_a_token_without_a_name_is_refused_at_its_field(person, signed_in):
    answer = signed_in(person("ada")).post("/settings/tokens/", {"name": "", "expires_in": "7"})
    assert answer.status_code == 400
    assert answer.context["form"].errors["name"]


def test_a_token_is_revoked_by_its_member_alone(person, signed_in, token):
    ada = person("ada")
    row, _ = token(ada)
    assert signed_in(person("bea", "admin")).post(f"/settings/tokens/{row.public_id}/revoke/").status_code == 404
    client = signed_in(ada)
    for _ in range(2):
        assert client.post(f"/settings/tokens/{row.public_id}/revoke/").status_code == 302
    assert AuditEntry.objects.filter(action="token.revoke").count() == 1


def test_the_list_of_tokens_costs_the_same_for_many(person, signed_in, token, django_assert_num_queries):
    ada = person("ada")
    client = signed_in(ada)
    token(ada, expires_at=expiry_in(timedelta(days=-1)))
    with CountedQueries() as one:
        client.get("/settings/tokens/")
    for _ in range(20):
        token(ada)
    with CountedQueries() as many:
        client.get("/settings/tokens/")
    assert many.count == one.count <= 10


class CountedQueries:
    def __enter__(self):
        self.count = 0
        self.watch = connection.execute_wrapper(self.one_more)
        self.watch.__enter__()
        return self

    def __exit__(self, *why):
        self.watch.__exit__(*why)

    def one_more(self, execute, sql, params, many, context):
        self.count += 1
        return execute(sql, params, many, context)


def test_everyone_sees_who_is_there_and_only_an_admin_changes_it(person, signed_in, elsewhere):
    bea, zoe = person("bea", "operator"), person("zoe", organization=elsewhere)
    client = signed_in(person("ada", "viewer"))
    page = client.get("/settings/members/").content.decode()
    assert "bea" in page
    assert "zoe" not in page
    assert "Add a member" not in page
    assert client.post("/settings/members/", {"username": "x", "roles": ["admin"]}).status_code == 403
    assert client.get(f"/settings/members/{bea.pk}/").status_code == 403
    admin = signed_in(person("cid", "admin"))
    assert admin.get(f"/settings/members/{bea.pk}/").status_code == 200
    assert admin.get(f"/settings/members/{zoe.pk}/").status_code == 404
    assert admin.post(f"/settings/members/{zoe.pk}/roles/", {"roles": ["viewer"]}).status_code == 404


def test_a_new_name_makes_an_account_with_a_password_shown_once(person, signed_in):
    client = signed_in(person("ada", "admin"))
    made = client.post("/settings/members/", {"username": "new", "email": "new@example.com", "roles": ["approver"]})
    password = made.context["password"]
    assert password in made.content.decode()
    assert Client().post("/accounts/login/", {"login": "new", "password": password}).status_code == 302
    assert AuditEntry.objects.get(action="member.add").data == {"roles": ["approver"], "is_new": True}


def test_an_account_of_elsewhere_is_added_as_it_is(person, signed_in, elsewhere):
    eve = person("eve", organization=elsewhere, email="eve@example.com")
    client = signed_in(person("ada", "admin"))
    form = {"username": "Eve", "email": "mine@example.com", "roles": ["viewer"]}
    assert client.post("/settings/members/", form).status_code == 302
    assert client.post("/settings/members/", form).status_code == 409
    user = User.objects.get(pk=eve.user_id)
    assert user.check_password(PASSWORD)
    assert user.email == "eve@example.com"
    assert user.memberships.count() == 2


def test_an_address_that_somebody_has_makes_no_account(person, signed_in):
    client = signed_in(person("ada", "admin", email="ada@example.com"))
    answer = client.post("/settings/members/", {"username": "new", "email": "ADA@example.com", "roles": ["viewer"]})
    assert answer.status_code == 409
    assert not User.objects.filter(username="new").exists()


def test_roles_change_with_a_line_in_the_trail(person, signed_in):
    bea = person("bea", "viewer")
    client = signed_in(person("ada", "admin"))
    assert client.post(f"/settings/members/{bea.pk}/roles/", {"roles": ["builder", "operator"]}).status_code == 302
    assert Member.objects.get(pk=bea.pk).roles == ["operator", "builder"]
    line = AuditEntry.objects.get(action="member.change_roles")
    assert (line.actor.name, line.target, line.data["from"]) == ("ada", "bea", ["viewer"])
    assert client.post(f"/settings/members/{bea.pk}/roles/", {}).status_code == 400


def test_the_last_admin_stays(person, signed_in):
    ada = person("ada", "admin")
    client = signed_in(ada)
    answer = client.post(f"/settings/members/{ada.pk}/roles/", {"roles": ["viewer"]})
    assert answer.status_code == 409
    assert "last active admin" in answer.content.decode()
    client.post(f"/settings/members/{ada.pk}/activation/", {"is_active": ""})
    row = Member.objects.get(pk=ada.pk)
    assert (row.roles, row.is_active) == (["admin"], True)
    assert AuditEntry.objects.filter(action__startswith="member.").count() == 0


def test_who_is_deactivated_is_out_with_their_tokens_and_comes_back(person, signed_in, token):
    bea = person("bea", "operator")
    _, plaintext = token(bea)
    theirs, client = signed_in(bea), signed_in(person("ada", "admin"))
    client.post(f"/settings/members/{bea.pk}/activation/", {"is_active": ""})
    assert UserSession.objects.filter(user=bea.user).count() == 0
    assert theirs.get("/").status_code == 302
    assert signed_in(bea).get("/").status_code == 403
    assert Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {plaintext}"}).status_code == 401
    client.post(f"/settings/members/{bea.pk}/activation/", {"is_active": "1"})
    assert signed_in(bea).get("/").status_code == 200
    actions = AuditEntry.objects.filter(target="bea").order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["member.deactivate", "member.activate"]


def test_a_new_password_is_given_only_to_whom_we_made_and_no_other_ever_had(person, signed_in, elsewhere):
    bea, boss = person("bea"), person("boss", is_superuser=True)
    theirs = signed_in(bea)
    client = signed_in(person("ada", "admin"))
    password = client.post(f"/settings/members/{bea.pk}/password/").context["password"]
    assert theirs.get("/").status_code == 302
    assert Client().post("/accounts/login/", {"login": "bea", "password": password}).status_code == 302
    Member.add(organization=elsewhere, username="bea", email="", roles=["viewer"], by=None)[0].delete()
    Member.add(organization=elsewhere, username="zoe", email="", roles=["viewer"], by=None)
    zoe, _ = Member.add(organization=bea.organization, username="zoe", email="", roles=["viewer"], by=None)
    User.objects.create_user(username="lone", password=PASSWORD)
    lone, _ = Member.add(organization=bea.organization, username="lone", email="", roles=["viewer"], by=None)
    for person_of_others in (bea, boss, zoe, lone):
        assert client.post(f"/settings/members/{person_of_others.pk}/password/").status_code == 302
        answer = client.post(f"/settings/members/{person_of_others.pk}/email/", {"email": "a@example.com"})
        assert answer.status_code == 409
    assert all(User.objects.get(pk=one.user_id).check_password(PASSWORD) for one in (boss, lone))
    assert AuditEntry.objects.filter(action="member.new_password").count() == 1


def test_many_members_are_shown_in_parts_with_the_same_queries(person, signed_in, house):
    client = signed_in(person("ada", "admin"))
    with CountedQueries() as few:
        client.get("/settings/members/")
    users = User.objects.bulk_create(User(username=f"m{number:03}") for number in range(150))
    Member.objects.bulk_create(Member(user=user, organization=house, roles=["viewer"]) for user in users)
    with CountedQueries() as many:
        first = client.get("/settings/members/")
    assert many.count == few.count <= 10
    assert len(first.context["members"]) == 100
    second = client.get("/settings/members/", {"after": first.context["next"]})
    assert len(second.context["members"]) == 51
    assert len(client.get("/settings/members/", {"q": "m00"}).context["members"]) == 10


def test_the_trail_is_an_admins_and_of_one_organization(person, signed_in, elsewhere, token):
    token(person("bea"))
    token(person("eve", "admin", organization=elsewhere), name="secret")
    assert signed_in(person("cid", "operator")).get("/settings/audit/").status_code == 403
    client = signed_in(person("ada", "admin"))
    page = client.get("/settings/audit/").content.decode()
    assert "bea" in page
    assert "secret" not in page


def test_the_trail_is_filtered_by_its_address_and_read_backwards(person, signed_in, house):
    ada, bea = person("ada", "admin"), person("bea")
    AuditEntry.objects.bulk_create(
        AuditEntry(organization=house, actor=bea if number % 2 else ada, action="run.cancel", target=f"run_{number}")
        for number in range(120)
    )
    client = signed_in(ada)
    with CountedQueries() as counted:
        first = client.get("/settings/audit/", {"actor": "bea"})
    assert counted.count <= 10
    assert [entry.target for entry in first.context["entries"][:2]] == ["run_119", "run_117"]
    second = client.get("/settings/audit/" + first.context["older_url"])
    assert len(second.context["entries"]) == 10
    assert second.context["older_url"] == ""
    assert len(client.get("/settings/audit/?target=run_7").context["entries"]) == 1
    assert client.get("/settings/audit/?until=9999-12-31").status_code == 200
    assert len(client.get("/settings/audit/?action=member").context["entries"]) == 0
    assert client.get("/settings/audit/?since=nonsense&before=-1").status_code == 200
    assert len(client.get("/settings/audit/?since=2100-01-01").context["entries"]) == 0


def test_the_trail_as_a_table_holds_no_formulas(person, signed_in, house):
    ada = person("ada", "admin")
    AuditEntry.objects.create(organization=house, actor=ada, action="run.cancel", target="=1+1")
    answer = signed_in(ada).get("/settings/audit/?format=csv&target==1%2B1")
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert lines[0] == "at,who,did,to what,with"
    assert ",ada,run.cancel,'=1+1," in lines[1]


def test_one_switches_between_ones_own_organizations(person, signed_in, house, elsewhere):
    ada = person("ada")
    Member.objects.create(user=ada.user, organization=elsewhere, roles=["viewer"])
    Organization.objects.create(slug="foreign", name="Foreign")
    client = signed_in(ada)
    assert "Other House" in client.get("/settings/").content.decode()
    assert client.post("/settings/organization/", {"organization": "foreign"}).status_code == 404
    assert client.get("/settings/members/").wsgi_request.member.organization == house
    assert client.post("/settings/organization/", {"organization": "other"}).status_code == 302
    assert client.get("/settings/members/").wsgi_request.member.organization == elsewhere


def test_a_stale_page_removes_no_last_admin(person):
    ada, bea = person("ada", "admin"), person("bea", "admin")
    seen_by_bea = Member.objects.get(pk=bea.pk)
    ada.change_roles(["viewer"], by=bea)
    with pytest.raises(LastAdmin):
        seen_by_bea.change_roles(["viewer"], by=ada)
    with pytest.raises(LastAdmin):
        seen_by_bea.deactivate(by=ada)


def test_theme_and_density_are_chosen_where_one_is(client, members):
    client.force_login(members.viewer.user)
    answer = client.post("/settings/preference/", {"theme": "dark"}, headers={"Referer": "http://testserver/runs/?q=a"})
    assert (answer.headers["Location"], answer.cookies["theme"].value) == ("http://testserver/runs/?q=a", "dark")
    answer = client.post(
        "/settings/preference/", {"density": "compact", "theme": "odd"}, headers={"Referer": "https://evil.example/"}
    )
    assert (answer.headers["Location"], answer.cookies["density"].value) == ("/settings/", "compact")
    assert "optional" not in client.get("/settings/").content.decode()
    assert "theme" not in answer.cookies
