"""People in the admin: the rules of the pages hold there too."""

import pytest
from allauth.usersessions.models import UserSession

from accounts.exceptions import LastAdmin
from accounts.models import AuditEntry, Member, Organization, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(signed_in, person):
    """A browser of who runs the installation, and is a member of it elsewhere."""
    elsewhere = Organization.objects.create(slug="other", name="Other")
    return signed_in(person("root", "admin", organization=elsewhere, is_staff=True, is_superuser=True))


def change(client, member, **words):
    form = {"roles": ",".join(member.roles), "is_active": "on" if member.is_active else ""} | words
    return client.post(f"/admin/accounts/member/{member.pk}/change/", form, follow=True)


def test_the_last_admin_stays_in_the_admin_too(person, staff):
    ada = person("ada", "admin")
    for words in ({"roles": "viewer"}, {"is_active": ""}):
        assert str(LastAdmin()) in change(staff, ada, **words).content.decode()
        row = Member.objects.get(pk=ada.pk)
        assert (row.roles, row.is_active) == (["admin"], True)
    assert staff.post(f"/admin/accounts/member/{ada.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.post(f"/admin/accounts/user/{ada.user_id}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=ada.user_id).exists()
    assert AuditEntry.objects.count() == 0


def test_a_change_in_the_admin_is_the_same_verb_with_its_line_in_the_trail(person, staff):
    person("ada", "admin")
    bea = person("bea", "operator")
    change(staff, bea, roles="viewer,approver", is_active="")
    row = Member.objects.get(pk=bea.pk)
    assert (row.roles, row.is_active) == (["viewer", "approver"], False)
    told = list(AuditEntry.objects.order_by("pk").values_list("actor__user__username", "action", "target"))
    assert told == [("root", "member.change_roles", "bea"), ("root", "member.deactivate", "bea")]


def test_who_is_added_in_the_admin_is_nobodys_to_help_any_more(person, staff, house):
    zoe = person("zoe", organization=Organization.objects.get(slug="other"))
    form = {"user": zoe.user_id, "organization": house.pk, "roles": "viewer", "is_active": "on"}
    assert staff.post("/admin/accounts/member/add/", form).status_code == 302
    assert Member.objects.filter(user=zoe.user_id).count() == 2
    assert User.objects.get(pk=zoe.user_id).home is None
    assert AuditEntry.objects.get(action="member.add").target == "zoe"


def test_a_user_who_is_deactivated_is_signed_out(person, signed_in, staff):
    bea = person("bea")
    theirs = signed_in(bea)
    form = {"username": "bea", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert staff.post(f"/admin/accounts/user/{bea.user_id}/change/", form).status_code == 302
    assert not User.objects.get(pk=bea.user_id).is_active
    assert UserSession.objects.filter(user=bea.user_id).count() == 0
    assert theirs.get("/").status_code == 302
