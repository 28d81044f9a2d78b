"""Who gets in, how, and what is said to the others."""

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.usersessions.models import UserSession
from django.core import mail
from django.test import Client
from django.test.utils import override_settings
from django.urls import NoReverseMatch, get_resolver, reverse
from django.utils import timezone

from accounts.checks import sign_in_services
from accounts.models import User
from config.cache import ForgivingRedisCache
from tests.accounts.conftest import PASSWORD


def code_of(secret):
    return format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))


def sign_in(client, login, password=PASSWORD, **more):
    return client.post("/accounts/login/", {"login": login, "password": password}, **more)


def test_a_user_name_or_an_address_will_do(person, client):
    person("ada", email="ada@example.com")
    assert sign_in(client, "Ada@Example.com").status_code == 302
    assert client.get("/").status_code == 200


def test_nobody_signs_up(client, database):
    page = client.post("/accounts/signup/", {"username": "eve", "password1": PASSWORD, "password2": PASSWORD})
    assert "Nobody signs up here" in page.content.decode()
    assert User.objects.count() == 0


def test_after_five_wrong_passwords_even_the_right_one_waits(person, client):
    person("ada")
    for _ in range(5):
        assert "is not correct" in sign_in(client, "ada", "wrong").content.decode()
    assert "Too many tries" in sign_in(client, "ada").content.decode()


@pytest.mark.parametrize("address", ["unix:///nowhere/valkey.sock", "redis://127.0.0.1:1/0"])
def test_without_redis_people_get_in_and_guessing_is_still_limited(person, address, monkeypatch):
    person("ada")
    person("bea")
    cache = {"default": {"BACKEND": "config.cache.ForgivingRedisCache", "LOCATION": address}}
    monkeypatch.setattr(ForgivingRedisCache, "away_until", 0.0)
    with override_settings(CACHES=cache):
        assert sign_in(Client(), "ada").status_code == 302
        for _ in range(5):
            sign_in(Client(), "bea", "wrong")
        assert "Too many tries" in sign_in(Client(), "bea").content.decode()


def test_who_is_deactivated_everywhere_is_told_so(person, client):
    person("ada", is_active=False)
    answer = sign_in(client, "ada", follow=True)
    assert client.session.get("_auth_user_id") is None
    assert answer.status_code == 200


def test_without_mail_a_forgotten_password_is_an_admins_matter(client, database):
    assert "Ask an admin" in client.get("/accounts/password/reset/").content.decode()
    client.post("/accounts/password/reset/", {"email": "ada@example.com"})
    assert mail.outbox == []


@override_settings(EMAIL_URL="smtp://mail", ACCOUNT_EMAIL_NOTIFICATIONS=True)
def test_with_mail_a_link_sets_a_new_password(person, client):
    person("ada", email="ada@example.com")
    client.post("/accounts/password/reset/", {"email": "ada@example.com"})
    (letter,) = mail.outbox
    link = next(word for word in letter.body.split() if "/password/reset/key/" in word)
    form = client.get(link, follow=True)
    new = "another-horse-battery"
    done = client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new}, follow=True)
    assert "Your new password is set" in done.content.decode()
    assert sign_in(Client(), "ada", new).status_code == 302


def test_an_authenticator_app_is_asked_for_and_its_secret_is_not_readable(person, signed_in):
    ada = person("ada")
    client = signed_in(ada)
    secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
    client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    row = Authenticator.objects.get(user=ada.user, type=Authenticator.Type.TOTP)
    assert secret not in str(row.data)
    assert TOTP(row).validate_code(code_of(secret))

    fresh = Client()
    answer = sign_in(fresh, "ada")
    assert answer.headers["Location"] == "/accounts/2fa/authenticate/"
    assert fresh.get("/").status_code == 302
    codes = client.get("/accounts/2fa/recovery-codes/").context["unused_codes"]
    assert fresh.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    assert fresh.post("/accounts/2fa/authenticate/", {"code": codes[0]}).status_code == 302
    assert fresh.get("/").status_code == 200


def test_a_second_step_outlives_a_new_key_that_names_the_old_one(person, signed_in, settings):
    client = signed_in(person("ada"))
    secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
    client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another-key"
    sign_in(fresh := Client(), "ada")
    answer = fresh.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert (answer.status_code, "another SECRET_KEY" in answer.content.decode()) == (403, True)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert fresh.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200


def test_the_admin_is_entered_through_the_same_door(person, client, signed_in):
    assert client.get("/admin/login/?next=/admin/").headers["Location"] == "/accounts/login/?next=%2Fadmin%2F"
    assert client.post("/admin/login/", {"username": "ada", "password": PASSWORD}).status_code == 302
    assert signed_in(person("ada", "admin")).get("/admin/login/").status_code == 403


def test_sessions_are_listed_and_ended(person, signed_in):
    ada = person("ada")
    here, there = signed_in(ada), signed_in(ada)
    strange = signed_in(person("bea"))
    row = UserSession.objects.get(session_key=there.session.session_key)
    assert here.get("/settings/security/").content.decode().count("signed in <time") == 2
    assert strange.post(f"/settings/security/sessions/{row.pk}/end/").status_code == 404
    assert there.get("/").status_code == 200
    here.post(f"/settings/security/sessions/{row.pk}/end/")
    assert there.get("/").status_code == 302
    there = signed_in(ada)
    here.post("/settings/security/sessions/end/")
    assert there.get("/").status_code == 302
    assert here.get("/").status_code == 200
    assert strange.get("/").status_code == 200


def test_the_list_of_sessions_costs_the_same_for_many(person, signed_in, django_assert_max_num_queries):
    ada = person("ada")
    clients = [signed_in(ada) for _ in range(6)]
    with django_assert_max_num_queries(10):
        assert clients[0].get("/settings/security/").status_code == 200


def test_a_session_tells_when_and_from_where_it_was_last_seen(person, signed_in):
    ada = person("ada")
    here, there = signed_in(ada), signed_in(ada)
    rows = UserSession.objects.filter(session_key=there.session.session_key)
    hours_ago = timezone.now() - timedelta(hours=3)
    rows.update(last_seen_at=hours_ago, created_at=hours_ago, user_agent="Mozilla/5.0 (X11; Linux) Firefox/140.0")
    told = re.sub(r"<[^>]*>", "", here.get("/settings/security/").content.decode())
    assert "Firefox on Linux 127.0.0.1 · last seen 3 h ago · signed in 3 h ago" in told
    there.get("/", REMOTE_ADDR="192.0.2.7")
    assert rows.get().ip == "192.0.2.7"
    assert rows.get().last_seen_at > hours_ago


def test_signing_out_tells_the_browser_to_forget_what_it_kept(person, signed_in):
    client = signed_in(person("ada"))
    assert "Clear-Site-Data" not in client.get("/accounts/logout/").headers
    assert client.post("/accounts/logout/").headers["Clear-Site-Data"] == '"storage"'


def test_a_new_password_ends_the_other_sessions(person, signed_in):
    ada = person("ada")
    here, there = signed_in(ada), signed_in(ada)
    new = "another-horse-battery"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    assert here.post("/accounts/password/change/", form).status_code == 302
    assert there.get("/").status_code == 302


@pytest.mark.parametrize(
    "address",
    ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/inactive/", "/nothing/"],
)
def test_pages_for_strangers_wear_the_frame_and_run_no_inline_code(client, database, address):
    page = client.get(address).content.decode()
    assert "countersign.css" in page
    assert " style=" not in page
    assert "<style" not in page


@pytest.mark.parametrize(
    "address",
    [
        "/accounts/password/change/",
        "/accounts/logout/",
        "/accounts/2fa/totp/activate/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/reauthenticate/",
        "/nothing/",
    ],
)
def test_pages_of_allauth_wear_the_frame_with_its_navigation(person, signed_in, address):
    page = signed_in(person("ada")).get(address).content.decode()
    assert 'aria-label="Site"' in page


@pytest.mark.parametrize("address", ["2fa/", "2fa/webauthn/", "sessions/", "email/", "3rdparty/"])
def test_pages_that_ours_stand_for_lead_there(person, signed_in, address):
    answer = signed_in(person("ada")).get(f"/accounts/{address}")
    assert answer.headers["Location"] == "/settings/security/"


def test_every_address_of_allauth_wears_the_frame(person, signed_in):
    out, here = Client(), signed_in(person("ada"))
    names = [name for name in get_resolver("allauth.urls").reverse_dict if isinstance(name, str)]
    assert len(names) > 20
    for client in (out, here):
        for name in names:
            try:
                address = reverse(name)
            except NoReverseMatch:
                continue  # of one thing, by its key
            answer = client.get(address)
            assert answer.status_code in (200, 302, 401, 403, 404, 405), name
            if answer.status_code in (200, 401) and answer.headers["Content-Type"].startswith("text/html"):
                assert "countersign.css" in answer.content.decode(), name


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"corp": {"name": "Corp"}}, "accounts.E001"),
        ({"a/b": {"server_url": "https://x", "client_id": "c"}}, "accounts.E002"),
    ],
)
def test_a_service_that_cannot_work_is_told_at_the_start(settings, given, fault):
    settings.OIDC_PROVIDERS = given
    assert [message.id for message in sign_in_services(None)] == [fault]


@pytest.mark.parametrize("had_one", [True, False])
def test_a_password_is_changed_or_set_for_the_first_time(client, members, had_one):
    user = members.viewer.user
    user.set_password("old-secret-words-1" if had_one else None)
    user.save()
    client.force_login(user)
    path = reverse("account_change_password" if had_one else "account_set_password")
    assert "Save the new password" in client.get(path).content.decode()
    new = "new-secret-words-2"
    client.post(path, {"oldpassword": "old-secret-words-1", "password1": new, "password2": new})
    user.refresh_from_db()
    assert user.check_password(new)
