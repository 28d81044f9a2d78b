"""The pages of runs: the list, the start, one run and what people do to it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.models import Run
from tests.factories import MemberFactory

KPI = "  figures: {agent: echo, retry: {attempts: 4, backoff: 1h}}\n"
KPI += "  check: {needs: [figures], approval: {title: 'KPI <figures>', show: '${{ steps.figures.output }}'}}\n"
KPI += "  summary: {agent: echo, needs: [check]}\n"


@pytest.fixture
def viewer(client, members):
    client.force_login(members.viewer.user)
    return client


@pytest.fixture
def operator(client, members):
    client.force_login(members.operator.user)
    return client


def text_of(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status
    return answer.content.decode()


def claimed(run, key=1):
    """A step, for a worker that is no more, with the event that tells so. Gives (run, key, fence)."""
    moved = "update orchestration_step set status = 'running', owner = 1, fence = fence + 1, attempt = attempt + 1,"
    rows(f"{moved} started_at = clock_timestamp() where run_id = %s and key = %s", [run.pk, key])  # noqa: S608
    told = "insert into orchestration_event (run_id, seq, type, key, data) select run_id, 1 + max(seq), 'step.started', %s,"
    told += " (select jsonb_build_object('step', name, 'attempt', attempt) from orchestration_step where run_id = %s and key = %s)"
    rows(f"{told} from orchestration_event where run_id = %s group by run_id", [key, run.pk, key, run.pk])  # noqa: S608
    rows("update orchestration_run set seq = seq + 1 where id = %s", [run.pk])
    ((fence,),) = rows("select fence from orchestration_step where run_id = %s and key = %s", [run.pk, key])
    return run.pk, key, fence


def ended(run, key=1, **outcome):
    answers.settle(
        claimed(run, key), "running", answers.Outcome(**{"becomes": "completed", "output": {"value": 1}} | outcome)
    )


def test_the_list_shows_runs_and_says_when_there_are_none(viewer, begin):
    assert "Nothing has run yet" in text_of(viewer, "/runs/")
    run = begin(KPI)
    page = text_of(viewer, "/runs/")
    assert f'href="/runs/{run.public_id}/"' in page
    assert "figures" in page


@pytest.mark.parametrize(
    "path", ["", "?view=table", "?view=graph", "?step=check", "events/", "payload/", "related/", "part/"]
)
def test_a_run_is_looked_at_by_members_of_its_organization_alone(viewer, client, begin, path):
    run = begin(KPI)
    page = text_of(viewer, f"/runs/{run.public_id}/{path}")
    assert "Running" in page
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert client.get(f"/runs/{run.public_id}/{path}").status_code == 404


def test_start_page(operator, save):
    save("name: hello\ninput: {type: object, required: [month], properties: {month: {type: string}}}\nsteps:\n" + KPI)
    assert "hello" in text_of(operator, "/runs/new/")
    text_of(operator, "/runs/new/hello/")
    answer = operator.post("/runs/new/hello/", {"input-month": "2026-10", "key": "k"})
    run = Run.objects.get()
    assert answer.headers["Location"] == f"/runs/{run.public_id}/"
