"""A session that ended while a form was open, errors in words."""

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.kept_forms import LARGEST_CHARACTERS
from accounts.models import ApiToken
from tests.accounts.conftest import PASSWORD

FORM = {"name": "written <b>before</b>", "expires_in": "7"}


def sign_in(client, answer):
    assert answer.headers["Location"] == "/accounts/login/?next=/again/"
    words = {"login": "ada", "password": PASSWORD, "next": "/again/"}
    back = client.post("/accounts/login/", words)
    assert back.headers["Location"] == "/again/"
    return client.get("/again/")


def test_what_was_sent_while_signed_out_is_shown_after_signing_in_and_sent_when_one_says_so(person, client):
    person("ada")
    page = sign_in(client, client.post("/settings/tokens/", FORM | {"key": "of-this-form"}))
    assert "<dt>name</dt>" in page.content.decode()
    assert "<dt>key</dt>" not in page.content.decode()
    assert "written &lt;b&gt;before&lt;/b&gt;" in page.content.decode()
    assert ApiToken.objects.count() == 0
    assert page.context["kept"]["action"] == "/settings/tokens/"
    assert page.context["kept"]["fields"] == [["name", FORM["name"]], ["expires_in", "7"], ["key", "of-this-form"]]
    client.post("/again/")
    assert client.get("/again/").context["kept"] is None


def test_what_is_too_large_or_too_often_is_not_kept(person, client):
    person("ada")
    page = sign_in(client, client.post("/settings/tokens/", {"name": "x" * LARGEST_CHARACTERS}))
    assert "too large" in page.content.decode()
    cache.clear()
    strangers = [Client() for _ in range(11)]
    for stranger in strangers:
        assert stranger.post("/settings/tokens/", FORM).status_code == 302
    assert "kept_form" not in strangers[-1].session


def test_a_part_that_refreshes_itself_is_told_that_one_is_signed_out(client, database):
    assert client.get("/", headers={"HX-Request": "true"}).status_code == 401


def test_a_page_left_open_over_a_new_sign_in_keeps_what_was_written(person, signed_in):
    signed = signed_in(person("ada"))
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = signed.cookies
    answer = strict.post("/settings/tokens/", FORM, headers={"Origin": "http://testserver"})
    assert answer.status_code == 403
    assert "Send it now" in answer.content.decode()
    assert answer.context["kept"]["fields"][0] == ["name", FORM["name"]]


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_another_site_gets_nothing_sent(person, signed_in, headers):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = signed_in(person("ada")).cookies
    answer = strict.post("/settings/tokens/", FORM, headers=headers)
    assert answer.status_code == 403
    assert "Send it now" not in answer.content.decode()


def test_a_password_is_never_shown_again(client, database):
    strict = Client(enforce_csrf_checks=True)
    words = {"login": "ada", "password": "my-secret-password"}
    answer = strict.post("/accounts/login/", words, headers={"Origin": "http://testserver"})
    assert answer.status_code == 403
    assert "my-secret-password" not in answer.content.decode()


def test_the_api_answers_errors_as_problems_and_people_get_pages(person, signed_in):
    client = signed_in(person("ada"))
    api = client.get("/api/v1/nothing/")
    assert (api.status_code, api.headers["Content-Type"]) == (404, "application/problem+json")
    page = client.get("/nothing/")
    assert page.status_code == 404
    assert "Not found" in page.content.decode()
    refused = client.get("/settings/audit/")
    assert "This needs the role admin." in refused.content.decode()


def test_our_own_error_is_a_page_even_when_the_database_is_away(person, signed_in, settings):
    client = signed_in(person("ada"))
    client.raise_request_exception = False
    settings.ROOT_URLCONF = "tests.accounts.broken_urls"
    for address, words in (("/boom/", "Something broke"), ("/api/boom/", "This is our error")):
        answer = client.get(address)
        assert answer.status_code == 500
        assert words in answer.content.decode()


def test_who_is_no_member_is_told_so_and_can_sign_out(client, django_user_model, database):
    django_user_model.objects.create_user(username="lone", password=PASSWORD)
    client.post("/accounts/login/", {"login": "lone", "password": PASSWORD})
    page = client.get("/")
    assert page.status_code == 403
    assert "Ask an admin" in page.content.decode()
    assert "Sign out" in page.content.decode()


def test_what_somebody_else_wrote_is_not_offered_to_whoever_signs_in(person, client):
    person("ada")
    stranger_wrote = {**FORM, "_member": "987654321"}
    page = sign_in(client, client.post("/settings/tokens/", stranger_wrote))
    assert page.context["kept"] is None
    assert FORM["name"] not in page.content.decode()
    assert "kept_form" not in client.session


def test_what_was_kept_is_forgotten_when_it_is_sent(person, client):
    member = person("ada")
    sign_in(client, client.post("/settings/tokens/", {**FORM, "_member": str(member.pk)}))
    client.post("/settings/", {"_kept": "1", "_member": str(member.pk)})
    assert client.get("/again/").context["kept"] is None


def test_a_form_made_for_another_organization_changes_nothing(person, signed_in):
    signed = signed_in(person("ada"))
    answer = signed.post("/settings/", {"theme": "dark", "_member": "987654321"})
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.content.decode()
    assert "theme" not in answer.cookies


def test_a_page_left_open_takes_in_nothing_of_another_organization(person, signed_in):
    member = person("ada")
    signed = signed_in(member)
    assert f'data-member="{member.pk}"' in signed.get("/").content.decode()
    for made_for, status in ((member.pk, 200), (987654321, 403)):
        assert signed.get("/part/", headers={"HX-Request": "true", "X-Member": str(made_for)}).status_code == status


def test_forms_say_whom_they_were_made_for(person, signed_in):
    member = person("ada")
    assert f'name="_member" value="{member.pk}"' in signed_in(member).get("/settings/").content.decode()
