import pytest
from rest_framework.test import APIClient

from accounts.models import ApiToken


@pytest.fixture
def client_of():
    """A client of the API with a new token of a member."""

    def client_of(member, *scopes):
        _, plaintext = ApiToken.issue(member=member, name="test", scopes=scopes, expires_at=None, by=None)
        client = APIClient(raise_request_exception=True)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {plaintext}")
        return client

    return client_of


@pytest.fixture
def operator(client_of, members):
    return client_of(members.operator)


@pytest.fixture
def viewer(client_of, members):
    return client_of(members.viewer)
