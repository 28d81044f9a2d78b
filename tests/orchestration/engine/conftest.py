import pytest


@pytest.fixture
def boss(save_agent):
    return save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["child"]})
