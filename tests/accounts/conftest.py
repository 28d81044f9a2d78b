import pytest
from django.test import Client

from accounts.models import ApiToken, Member, Organization, User

PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _no_tries_yet(settings, request):
    """How often one tries is counted in the cache; Redis would remember it beyond the test."""
    here = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": request.node.nodeid}
    settings.CACHES = {"default": here}


@pytest.fixture
def house(database):
    return Organization.objects.create(slug="global", name="Global")


@pytest.fixture
def person(house):
    """Make a member with a password; gives them."""

    def person(name, *roles, organization=None, **user):
        home = organization or house
        made = User.objects.create_user(username=name, password=PASSWORD, home=home, **user)
        return Member.objects.create(user=made, organization=home, roles=list(roles) or ["viewer"])

    return person


@pytest.fixture
def signed_in():
    """A browser in which a member signed in with their password, and, unless told, said so again just now."""

    def signed_in(member, surely=True):
        client = Client()
        answer = client.post("/accounts/login/", {"login": member.name, "password": PASSWORD})
        assert answer.status_code == 302, answer.content.decode()
        if surely:
            client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        return client

    return signed_in


@pytest.fixture
def token():
    def token(member, **words):
        return ApiToken.issue(
            **{"member": member, "name": "ci", "scopes": [], "expires_at": None, "by": member} | words
        )

    return token
