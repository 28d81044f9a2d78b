import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestration.engine import settling
from orchestration.engine.connection import rows
from orchestration.models import Definition, Deliverable
from tests.factories import MemberFactory

API = "/api/v1/definitions/"
GOOD = "name: echoes\nsteps:\n  first: {agent: echo, with: {value: 1}}\n"
BAD = "name: echoes\nsteps:\n  first: {agent: ecko}\n"


@pytest.fixture
def builder(client_of, members, agents, policies):
    return client_of(members.builder)


def post(client, text, path="", **more):
    return client.post(API + path, {"text": text, **more}, format="json")


def test_a_builder_saves_and_all_read(builder, viewer, members):
    made = post(builder, GOOD)
    assert (made.status_code, made.json()["slug"], made.json()["version"]) == (201, "echoes", 1)
    assert post(builder, GOOD).json()["version"] == 1
    assert post(builder, GOOD + "# again\n").json()["version"] == 2
    assert viewer.get(API + "echoes/").json()["text"] == GOOD + "# again\n"
    assert [row["slug"] for row in viewer.get(API).json()["results"]] == ["echoes"]
    versions = viewer.get(API + "echoes/versions/").json()["results"]
    assert [(row["version"], row["created_by"]) for row in versions] == [
        (2, members.builder.name),
        (1, members.builder.name),
    ]


def test_findings_name_their_place_and_nothing_is_saved(builder):
    refused = post(builder, BAD, file="flow.yaml")
    (error,) = refused.json()["errors"]
    assert refused.status_code == 400
    assert error["pointer"] == "flow.yaml:3:18"
    assert (error["line"], error["column"]) == (3, 18)
    assert "echo" in error["fix"]
    assert error["fix"] not in error["message"]
    assert not Definition.objects.exists()


def test_a_check_saves_nothing(builder):
    checked = post(builder, BAD, "check/").json()
    assert (checked["valid"], len(checked["findings"])) == (False, 1)
    assert post(builder, GOOD, "check/").json() == {"valid": True, "findings": []}
    assert not Definition.objects.exists()


@pytest.mark.parametrize(
    "body", [{}, {"text": 7.5}, {"text": None}, {"text": "a\0"}, {"text": GOOD, "more": 1}, {"text": []}]
)
def test_what_is_no_text_is_refused(builder, body):
    answer = builder.post(API, body, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"]


def test_others_may_not_save(viewer, client_of, members, builder):
    assert post(viewer, GOOD).status_code == 403
    assert post(client_of(members.builder, "run"), GOOD).status_code == 403
    post(builder, GOOD)
    stranger = client_of(MemberFactory(roles=["admin"]))
    assert stranger.get(API).json()["results"] == []
    assert stranger.get(API + "echoes/").status_code == 404
    assert stranger.get(API + "echoes/versions/").status_code == 404


def test_lists_of_many_cost_as_many_queries_as_of_few(builder, viewer):
    counts = []
    for number in range(2):
        for more in range(10):
            post(builder, GOOD.replace("echoes", f"echoes-{number}-{more}"))
            post(builder, GOOD + f"# {number} {more}\n")
        viewer.get(API)
        for path in (API, API + "echoes/versions/"):
            with CaptureQueriesContext(connection) as seen:
                viewer.get(path)
            counts.append(len(seen))
    assert counts == [2, 3, 2, 3]


def test_deliverables_are_listed_by_run_and_walled(viewer, client_of, begin):
    runs = [begin("  s: {agent: echo, deliverable: {name: d, title: t, content: c}}\n") for _ in range(10)]
    for run in runs:
        rows("update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s", [run.pk])
        made = {"id": f"dlv_{run.pk}", "name": "report", "title": "Title", "content": "# Words"}
        done = settling.Outcome("completed", output={"value": 1}, fields={"deliverable": made})
        settling.settle((run.pk, 1, 1), "running", done)
    address = "/api/v1/deliverables/"
    viewer.get(address)
    with CaptureQueriesContext(connection) as seen:
        assert len(viewer.get(address).json()["results"]) == 10
    assert len(seen) == 2
    (row,) = viewer.get(address, {"run": runs[3].public_id}).json()["results"]
    assert row == viewer.get(f"{address}dlv_{runs[3].pk}/").json()
    assert row.pop("created_at")
    assert row == {
        "id": f"dlv_{runs[3].pk}",
        "name": "report",
        "version": 1,
        "title": "Title",
        "content": "# Words",
        "run": runs[3].public_id,
        "step": "s",
    }
    stranger = client_of(MemberFactory(roles=["admin"]))
    assert stranger.get(f"{address}dlv_{runs[3].pk}/").status_code == 404
    assert stranger.get(address).json()["results"] == []
    assert Deliverable.objects.count() == 10
