import pytest

from orchestration.engine import mail


@pytest.fixture
def boss(save_agent):
    return save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["child"]})


@pytest.fixture
def deliver(organization):
    """Send an event from outside; gives it."""

    def deliver(name="paid", key="", data=None):
        return mail.deliver(organization=organization, name=name, key=key, data=data, sender_id=None, by=None)[0]

    return deliver
