"""What holds for each page there is, those that will be added too."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import ApiToken, Role
from approvals.models import Request
from orchestration.models import Limit, LimitPlace, Run
from orchestration.seeding import seed_definitions
from simulators import sample
from simulators.pages import Rows, addresses
from tests.factories import MemberFactory

MOST_QUERIES = 15
NARROWED = {
    "pages:approvals": ("tab=all", "tab=done", "tab=done&q=figures&status=decided"),
    "pages:runs": ("q=figures&status=waiting&time=24h", "status=uncertain", "mine=1"),
    "pages:run": ("view=table", "view=graph", "step=check"),
    "pages:run-log": ("q=a&level=error",),
    "pages:deliverables": ("q=a&definition=monthly-figures",),
    "pages:definitions": ("q=a",),
    "pages:audit": ("action=approval",),
    "pages:members": ("q=a",),
}
RUNS, REQUESTS = 150, 60  # lists are full, and have a next page


@pytest.fixture
def full(committed, organization, members):
    """An organization whose lists are full: its admin's client, and [(name, address)] of its pages."""
    made = sample.make(organization, runs=RUNS, requests=REQUESTS, log_lines=1_000)
    seed_definitions(organization)
    for _ in range(30):
        MemberFactory(organization=organization, roles=[Role.VIEWER])
    members.admin.user.is_staff = members.admin.user.is_superuser = True
    members.admin.user.save()
    ApiToken.issue(member=members.admin, name="one", scopes=[], expires_at=None, by=None)
    limit = Limit.objects.create(organization=organization, kind=Limit.Kind.STEPS, key="k", max=1)
    runs = Run.objects.filter(organization=organization).values_list("pk", flat=True)
    LimitPlace.objects.bulk_create(LimitPlace(limit_id=limit.pk, run_id=run, key=1, fence=1) for run in runs)
    client = Client()
    client.force_login(members.admin.user)
    rows = Rows.of(organization, members.admin, definition="monthly-figures")
    waiting = Request.objects.pending().first().context["run"]
    each = [rows, replace(rows, run=waiting), replace(rows, run=made.large_run)]
    pages = {page for one in each for page in addresses(one).items()}
    decided = Request.objects.filter(status="decided").first()
    pages |= {(name, f"{address}?{query}") for name, address in pages for query in NARROWED.get(name, ())}
    pages.add(("pages:approval", reverse("pages:approval", args=[decided.public_id])))
    return SimpleNamespace(client=client, addresses=pages)


def test_every_page_needs_few_queries_however_many_rows_there_are(full):
    wrong = {}
    pages = 0
    for name, address in sorted(full.addresses):
        with CaptureQueriesContext(connection) as queries:
            answer = full.client.get(address)
        is_html = answer.headers.get("Content-Type", "").startswith("text/html")
        pages += answer.status_code == 200 and is_html
        if answer.status_code == 200 and b'class="rail"' in answer.content and b'id="live"' not in answer.content:
            wrong[address] = (name, "does not say whether it is live")
        good = {200, 302, 405}
        if not name.startswith("pages:"):
            good |= {401, 403, 404}  # django-allauth's for those who are in the middle of something
        if name == "pages:run-log-line":
            good.add(404)
        if answer.status_code not in good or len(queries) > MOST_QUERIES:
            wrong[address] = (name, answer.status_code, len(queries))
    assert wrong == {}
    assert pages > 20
