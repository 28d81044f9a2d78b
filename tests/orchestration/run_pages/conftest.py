import pytest


@pytest.fixture
def viewer(client, members):
    client.force_login(members.viewer.user)
    return client


@pytest.fixture
def operator(client, members):
    client.force_login(members.operator.user)
    return client
