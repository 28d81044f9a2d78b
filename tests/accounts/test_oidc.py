"""Signing in through a service, over HTTP, with one that answers as it should."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from accounts.models import AuditEntry, Member, User


class Service(ThreadingHTTPServer):
    claims: dict

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        url = self.server.url
        if self.path.startswith("/.well-known/"):
            places = {"authorization_endpoint": "/authorize", "token_endpoint": "/token"}
            places |= {"userinfo_endpoint": "/userinfo", "jwks_uri": "/keys"}
            return self.say({"issuer": url} | {name: url + path for name, path in places.items()})
        return self.say(self.server.claims)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.say({"access_token": "a", "token_type": "Bearer"})

    def say(self, words):
        body = json.dumps(words).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture
def service(settings):
    server = Service(("127.0.0.1", 0), Answers)
    server.claims = {"sub": "42", "email": "ada@example.com", "email_verified": True}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    app = {"provider_id": "corp", "name": "Corp", "client_id": "us", "secret": "s"}
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app | {"settings": {"server_url": server.url}}]}
    }
    yield server
    server.shutdown()
    server.server_close()


def through(client, service, process="login"):
    """Off to the service, and back with a code."""
    leaving = client.post(f"/accounts/oidc/corp/login/?process={process}")
    assert leaving.status_code == 200
    address = leaving.context["address"]
    assert address.startswith(f"{service.url}/authorize")
    asked = parse_qs(urlsplit(address).query)
    assert asked["code_challenge_method"] == ["S256"]
    return client.get("/accounts/oidc/corp/login/callback/", {"code": "c", "state": asked["state"][0]})


def test_the_sign_in_offers_the_service(client, database, service):
    assert "Sign in with Corp" in client.get("/accounts/login/").content.decode()


def test_who_has_the_verified_address_gets_in_and_is_known_from_then_on(person, service):
    ada = person("ada", email="Ada@example.com")
    client = Client()
    assert through(client, service).status_code == 302
    assert client.get("/").status_code == 200
    assert ada.user.socialaccount_set.count() == 1
    assert AuditEntry.objects.get(action="member.connect").target == "ada"
    assert User.objects.get(pk=ada.user_id).has_usable_password()
    service.claims = {"sub": "42", "email": "moved@example.com", "email_verified": True}
    assert through(Client(), service).status_code == 302


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "42", "email": "nobody@example.com", "email_verified": True},
        {"sub": "42", "email": "ada@example.com", "email_verified": False},
        {"sub": "42", "email": "ada@example.com", "email_verified": "false"},
        {"sub": "42", "email": "ada@example.com"},
        {"sub": "42"},
    ],
)
def test_others_are_told_what_to_do_and_nobody_is_made(person, service, claims):
    person("ada", email="ada@example.com")
    service.claims = claims
    client = Client()
    answer = through(client, service)
    assert answer.status_code == 403
    assert "Corp knows you, we do not" in answer.content.decode()
    assert client.get("/").status_code == 302
    assert (User.objects.count(), Member.objects.count()) == (1, 1)


def test_an_address_of_two_people_lets_neither_in(person, service):
    person("ada", email="ada@example.com")
    person("adele", email="ADA@example.com")
    assert through(Client(), service).status_code == 403


def test_who_is_signed_in_connects_a_service_and_disconnects_it(person, signed_in, service):
    ada = person("ada")
    client = signed_in(ada)
    assert through(client, service, process="connect").status_code == 302
    account = ada.user.socialaccount_set.get()
    assert "Disconnect" in client.get("/settings/security/").content.decode()
    client.post("/accounts/3rdparty/", {"account": account.pk})
    assert ada.user.socialaccount_set.count() == 0


def test_a_service_that_is_away_is_told_in_words(database, service):
    service.shutdown()
    service.server_close()
    answer = Client().post("/accounts/oidc/corp/login/?process=login")
    assert "did not answer as it should" in answer.content.decode()
