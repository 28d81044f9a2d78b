import pytest

from tests.approvals.looks import PAYLOAD, SCHEMA, browser
from tests.factories import ask


@pytest.fixture
def figures(policy):
    return ask(policy, payload=PAYLOAD, payload_schema=SCHEMA, editable=["/rows"], title="KPI figures for 2026-10")


@pytest.fixture
def site(ada):
    return browser(ada)
