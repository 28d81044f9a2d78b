"""What holds for each page there is, those that will be added too."""

from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiToken, Role
from orchestration.seeding import seed_definitions
from simulators import sample
from simulators.pages import Rows, addresses
from tests.factories import MemberFactory

MOST_QUERIES = 15
RUNS, REQUESTS = 150, 60  # lists are full, and have a next page


@pytest.fixture
def full(committed, organization, members):
    """An organization whose lists are full, and the page of every name: (its admin's client, {name: address})."""
    sample.make(organization, runs=RUNS, requests=REQUESTS)
    seed_definitions(organization)
    for _ in range(30):
        MemberFactory(organization=organization, roles=[Role.VIEWER])
    members.admin.user.is_staff = members.admin.user.is_superuser = True
    members.admin.user.save()
    ApiToken.issue(member=members.admin, name="one", scopes=[], expires_at=None, by=None)
    client = Client()
    client.force_login(members.admin.user)
    rows = Rows.of(organization, members.admin, definition="monthly-figures")
    return SimpleNamespace(client=client, addresses=addresses(rows))


def test_every_page_needs_few_queries_however_many_rows_there_are(full):
    wrong = {}
    pages = 0
    for name, address in full.addresses.items():
        with CaptureQueriesContext(connection) as queries:
            answer = full.client.get(address)
        is_html = answer.headers.get("Content-Type", "").startswith("text/html")
        pages += answer.status_code == 200 and is_html
        good = (200, 302, 405) if name.startswith("pages:") else (200, 302, 401, 403, 404, 405)
        if answer.status_code not in good or len(queries) > MOST_QUERIES:
            wrong[name] = (address, answer.status_code, len(queries))
    assert wrong == {}
    assert pages > 20
