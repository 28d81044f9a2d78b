"""A web process, and whoever looks at its pages."""

import pytest
from django.db import connections

from tests.harness import Web
from tests.orchestration.live.looks import signed_in


@pytest.fixture
def web(committed, tmp_path):
    web = Web(tmp_path / "web.log").wait_until_ready()
    yield web
    web.stop()
    connections.close_all()


@pytest.fixture
def cookie(members):
    return signed_in(members.viewer)
