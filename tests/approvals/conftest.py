import pytest

from tests.factories import MemberFactory, PolicyFactory, ask


@pytest.fixture
def policy(db):
    return PolicyFactory()


@pytest.fixture
def ada(policy):
    return MemberFactory(organization=policy.organization, roles=["approver"])


@pytest.fixture
def question(policy):
    return ask(policy)
