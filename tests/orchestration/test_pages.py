import re

import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestration.engine import settling
from orchestration.engine.connection import rows
from orchestration.models import Run
from tests.factories import MemberFactory, PolicyFactory, UserFactory, ask


@pytest.fixture
def signed_in(client, members):
    client.force_login(members.viewer.user)
    return client


@pytest.fixture
def staff(client, members):
    user = members.admin.user
    user.is_staff = user.is_superuser = True
    user.save()
    client.force_login(user)
    return client


def claim_first(run):
    """Its first step, for a worker that is no more."""
    claimed = "update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s and key = 1"
    rows(claimed, [run.pk])


def questions(organization, count):
    policy = PolicyFactory(organization=organization)
    for number in range(count):
        ask(policy, subject=f"{policy.slug}:{number}", title=f"Question <{number}>")


def test_a_stranger_is_sent_to_the_sign_in(client, db):
    answer = client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/accounts/login/?next=/")
    assert client.get("/accounts/login/").status_code == 200


def test_another_organization_and_no_member_see_nothing_of_it(client, begin, organization):
    run = begin("  s: {agent: echo}\n")
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert run.public_id not in client.get("/").content.decode()
    client.force_login(UserFactory())
    assert client.get("/").status_code == 403


def test_pages_and_answers_let_only_our_own_files_run(signed_in):
    page = signed_in.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert b"<style" not in page.content
    assert b"style=" not in page.content
    assert b"onclick" not in page.content
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["X-Frame-Options"] == "DENY"
    for file in ("countersign.css", "icons.css", "js/shell.js", "icon.svg"):
        assert finders.find(file)
    assert "default-src 'none'" in signed_in.get("/api/v1/runs/").headers["Content-Security-Policy"]


def test_the_admin_looks_at_runs_and_changes_none(staff, begin):
    run = begin("  first: {agent: echo}\n  second: {agent: echo, needs: [first]}\n")
    claim_first(run)
    settling.settle((run.pk, 1, 1), "running", settling.Outcome("completed", output={"value": "<b>"}))
    page = staff.get(f"/admin/orchestration/run/{run.pk}/change/").content.decode()
    assert "step.completed" in page
    assert re.search(r">\s*second\s*<", page)
    assert staff.post(f"/admin/orchestration/run/{run.pk}/change/", {"status": "completed"}).status_code == 403
    assert staff.post(f"/admin/orchestration/run/{run.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get("/admin/orchestration/run/add/").status_code == 403
    assert Run.objects.get().status == "running"


@pytest.mark.parametrize("model", ["run", "definition", "deliverable", "worker"])
def test_admin_lists_of_many_cost_as_many_queries_as_of_few(staff, begin, model):
    counts = []
    for _ in range(2):
        for _ in range(10):
            run = begin("  s: {agent: echo, deliverable: {name: d, title: t, content: c}}\n")
            claim_first(run)
            made = {"id": f"dlv_{run.pk}", "name": "d", "title": "t", "content": "c"}
            outcome = settling.Outcome("completed", output={"value": 1}, fields={"deliverable": made})
            settling.settle((run.pk, 1, 1), "running", outcome)
        with CaptureQueriesContext(connection) as seen:
            assert staff.get(f"/admin/orchestration/{model}/").status_code == 200
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 9


def test_a_run_in_the_admin_costs_as_many_queries_with_many_steps(staff, begin):
    few = begin("  s: {agent: echo}\n")
    many = begin("".join(f"  s{n}: {{agent: echo}}\n" for n in range(40)))
    counts = []
    staff.get(f"/admin/orchestration/run/{few.pk}/change/")  # reads the content types
    for run in (few, many):
        with CaptureQueriesContext(connection) as seen:
            staff.get(f"/admin/orchestration/run/{run.pk}/change/")
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 15, counts
