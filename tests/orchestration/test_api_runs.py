import base64

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry
from orchestration.engine import settling
from orchestration.engine.connection import rows
from orchestration.idempotency import start_once
from orchestration.models import Run, StartKey
from tests.factories import MemberFactory
from tests.harness import race

ECHO = """name: echoes
input: {type: object, required: [n], properties: {n: {type: integer}}}
steps:
  first: {agent: echo, with: {value: "${{ input.n }}"}}
  second: {agent: echo, needs: [first], with: {value: "${{ steps.first.output.value }}"}}
output: {n: "${{ steps.second.output.value }}"}
"""
API = "/api/v1/runs/"


@pytest.fixture
def echoes(save):
    return save(ECHO)


def start(client, **body):
    return client.post(API, {"definition": "echoes", "input": {"n": 1}} | body, format="json")


def claim(run):
    """Its only step, for a worker that is no more."""
    rows("update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s", [run.pk])


def pointers(response):
    assert response.status_code == 400, response.content
    return [error["pointer"] for error in response.json()["errors"]]


def test_a_run_is_started_and_shown_without_its_hidden_output_step(operator, echoes):
    answer = start(operator)
    body = answer.json()
    assert (answer.status_code, body["status"]) == (201, "running")
    assert answer.headers["Location"] == f"{API}{body['id']}/"
    shown = operator.get(f"{API}{body['id']}/").json()
    assert shown == body
    assert shown["definition"] == {"slug": "echoes", "version": 1}
    assert shown["input"] == {"n": 1}
    assert shown["started_by"].startswith("person")
    fields = ("name", "status", "attempts", "round", "index")
    assert [tuple(step[name] for name in fields) for step in shown["steps"]] == [
        ("first", "ready", 0, 1, None),
        ("second", "blocked", 0, 1, None),
    ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"input": {"n": "one"}}, "/input/n"),
        ({"input": {}}, "/input"),
        ({"input": {"n": 2**70}}, "/input"),
        ({"input": {"n": 1, "text": "a\0b"}}, "/input"),
        ({"input": []}, "/input"),
        ({"definition": "nowhere"}, "/definition"),
        ({"definition": 7.5}, "/definition"),
        ({"definition": "echoes\0"}, "/definition"),
        ({"definition": None}, "/definition"),
        ({"inputs": {}}, "/inputs"),
    ],
)
def test_what_cannot_be_started_is_refused_at_its_place(operator, echoes, body, pointer):
    assert pointers(start(operator, **body)) == [pointer]
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "body", ["{", "[]", '"text"', "null", "[" * 100_000, '{"definition": ' + "9" * 5_000 + "}", b"\xff\xfe"]
)
def test_what_is_no_object_of_json_is_refused(operator, echoes, body):
    answer = operator.post(API, body, content_type="application/json")
    assert answer.status_code == 400
    assert set(answer.json()["errors"][0]) == {"pointer", "message"}


@pytest.mark.parametrize("position", ["", "x", "%00", "9" * 30, "-1"])
@pytest.mark.parametrize("rows_of", ["runs", "definitions", "approvals", "deliverables"])
def test_a_cursor_of_nonsense_is_no_error_of_ours(operator, echoes, rows_of, position):
    cursor = base64.b64encode(f"p={position}".encode()).decode()
    assert operator.get(f"/api/v1/{rows_of}/", {"cursor": cursor}).status_code in {200, 404}


def test_half_a_character_is_refused(operator, echoes):
    body = '{"definition": "echoes", "input": {"n": 1, "text": "\\ud800"}}'
    assert pointers(operator.post(API, body, content_type="application/json")) == ["/input"]


@pytest.mark.parametrize("depth", [101, 300, 600])
def test_json_nested_too_deep_is_refused(operator, echoes, depth):
    given = '{"n": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    body = f'{{"definition": "echoes", "input": {given}}}'
    refused = operator.post(API, body, content_type="application/json")
    assert refused.status_code == 400
    assert refused.json()["errors"] == [{"pointer": "/input", "message": "It is nested deeper than 100."}]


def test_numbers_beyond_doubles_start_a_run_with_a_key_and_lie_in_definitions(operator, save):
    save("name: large\nsteps: {a: {agent: echo, with: {value: 1234567890123456789}}}\n")
    body = {"definition": "large", "input": {"n": 1234567890123456789}}
    first, second = (operator.post(API, body, format="json", HTTP_IDEMPOTENCY_KEY="k1") for _ in range(2))
    assert (first.status_code, first.json()["id"]) == (201, second.json()["id"])


def test_a_body_past_the_limit_is_refused(operator, echoes, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert start(operator, input={"n": 1, "text": "x" * 200}).status_code == 413


def test_an_address_with_a_zero_character_is_no_error_of_ours(operator, echoes):
    assert operator.get("/api/v1/runs/run_%00/").status_code == 400
    assert operator.get("/api/v1/runs/", {"definition": "\0"}).status_code == 400


def test_roles_and_scopes(client_of, members, echoes):
    assert start(client_of(members.viewer)).status_code == 403
    assert start(client_of(members.operator, "read")).status_code == 403
    assert client_of(members.operator, "run").get(API).status_code == 403
    made = start(client_of(members.operator, "run"))
    assert made.status_code == 201
    assert client_of(members.viewer).get(API).json()["results"][0]["id"] == made.json()["id"]
    cancel = f"{API}{made.json()['id']}/cancel/"
    assert client_of(members.viewer).post(cancel, {"reason": "r"}, format="json").status_code == 403
    assert client_of(members.admin).post(cancel, {"reason": "r"}, format="json").status_code == 200


def test_another_organization_sees_nothing(operator, client_of, echoes):
    run = start(operator).json()["id"]
    stranger = client_of(MemberFactory(roles=["admin"]))
    assert stranger.get(API).json()["results"] == []
    for path in ("", "events", "events/"):
        assert stranger.get(f"{API}{run}/{path}").status_code == 404
    assert stranger.post(f"{API}{run}/cancel/").status_code == 404
    assert stranger.post(f"{API}{run}/steps/first/resolve/", {"outcome": "again"}, format="json").status_code == 404
    assert start(stranger).status_code == 400


def test_who_does_not_say_who_they_are(client, echoes):
    for path in ("", "run_x/", "run_x/events"):
        assert client.get(API + path).status_code == 401


def test_the_same_key_starts_one_run(operator, client_of, members, echoes):
    def again(client, **body):
        body = {"definition": "echoes", "input": {"n": 1}} | body
        return client.post(API, body, format="json", HTTP_IDEMPOTENCY_KEY="k1")

    first = again(operator)
    assert again(operator).json()["id"] == first.json()["id"]
    assert again(operator, input={"n": 2}).status_code == 422
    assert again(client_of(members.admin)).json()["id"] != first.json()["id"]
    rows("update orchestration_startkey set created_at = created_at - interval '25 hours'")
    assert again(operator).json()["id"] != first.json()["id"]
    assert Run.objects.count() == 3


def test_a_refused_start_leaves_its_key_free(operator, echoes):
    bad = operator.post(API, {"definition": "echoes", "input": {}}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert bad.status_code == 400
    assert not StartKey.objects.exists()


def batch(client, **body):
    return client.post(f"{API}batch/", {"definition": "echoes", "inputs": [{"n": 1}, {"n": 2}]} | body, format="json")


def test_many_runs_start_in_the_order_of_their_inputs(operator, echoes):
    answer = batch(operator)
    assert answer.status_code == 201
    started = answer.json()["results"]
    shown = [operator.get(f"{API}{run['id']}/").json() for run in started]
    assert [run["input"] for run in shown] == [{"n": 1}, {"n": 2}]
    assert [{name: run[name] for name in started[0]} for run in shown] == started
    assert {step["status"] for run in shown for step in run["steps"]} == {"ready", "blocked"}


def test_many_runs_start_together_or_not_at_all(operator, viewer, echoes):
    assert pointers(batch(operator, inputs=[{"n": 1}, {"n": "two"}, {}])) == ["/inputs/1/n", "/inputs/2"]
    assert pointers(batch(operator, inputs=[{"n": 1}], definition="nothing")) == ["/definition"]
    for wrong in ([], {}, [{"n": 1}] * 1_001):
        assert batch(operator, inputs=wrong).status_code == 400
    assert batch(viewer).status_code == 403
    assert not Run.objects.exists()


def test_the_same_key_starts_a_batch_once(operator, echoes):
    def again(**body):
        body = {"definition": "echoes", "inputs": [{"n": 1}, {"n": 2}]} | body
        return operator.post(f"{API}batch/", body, format="json", HTTP_IDEMPOTENCY_KEY="b1")

    first = again().json()["results"]
    assert again().json()["results"] == first
    assert again(inputs=[{"n": 1}]).status_code == 422
    assert (
        operator.post(
            API, {"definition": "echoes", "input": {"n": 1}}, format="json", HTTP_IDEMPOTENCY_KEY="b1"
        ).status_code
        == 422
    )
    assert Run.objects.count() == 2


def test_lists_are_pages_with_filters(operator, echoes, save):
    save(ECHO.replace("name: echoes", "name: others"))
    made = [start(operator).json()["id"] for _ in range(5)]
    other = start(operator, definition="others").json()["id"]
    page = operator.get(API, {"page_size": 2, "definition": "echoes"}).json()
    following = operator.get(page["next"]).json()
    assert [row["id"] for row in page["results"] + following["results"]] == made[:0:-1]
    assert [row["id"] for row in operator.get(API, {"definition": "others"}).json()["results"]] == [other]
    assert operator.get(API, {"status": "completed"}).json()["results"] == []
    assert pointers(operator.get(API, {"status": "done"})) == ["/status"]


def test_many_runs_cost_as_many_queries_as_one(operator, echoes, save):
    start(operator)
    queries = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as seen:
            assert operator.get(API).status_code == 200
        queries.append(len(seen))
        for _ in range(20):
            start(operator)
    assert queries == [2, 2]  # the token and the rows


def test_a_run_of_many_steps_costs_as_many_queries_as_one_of_few(operator, save, begin):
    steps = "".join(f"  s{n}: {{agent: echo, with: {{value: {n}}}}}\n" for n in range(40))
    few, many = begin("  s: {agent: echo}\n"), begin(steps)
    operator.get(API)
    with CaptureQueriesContext(connection) as first:
        operator.get(f"{API}{few.public_id}/")
    with CaptureQueriesContext(connection) as second:
        assert len(operator.get(f"{API}{many.public_id}/").json()["steps"]) == 40
    assert len(first) == len(second) <= 8


def test_cancel_twice_then_too_late(operator, begin, members):
    run = begin("  s: {agent: echo}\n")
    claim(run)
    for _ in range(2):
        answer = operator.post(f"{API}{run.public_id}/cancel/", {"reason": "no more"}, format="json")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceling")
    assert AuditEntry.objects.filter(action="run.cancel", target=run.public_id).exists()
    settling.settle((run.pk, 1, 1), "running", settling.Outcome("completed", output={"value": 1}))
    ended = operator.post(f"{API}{run.public_id}/cancel/", {"reason": "again"}, format="json")
    assert (ended.status_code, ended.json()["detail"]) == (409, "The run has ended: it is canceled.")


@pytest.fixture
def uncertain(begin):
    run = begin("  s: {agent: echo, repeatable: false, with: {value: 1}}\n")
    rows(
        "update orchestration_step set status = 'running', owner = 1, fence = 1, attempt = 1 where run_id = %s",
        [run.pk],
    )
    settling.settle((run.pk, 1, 1), "running", settling.Outcome("uncertain"))
    return run


def resolve(client, run, **body):
    return client.post(f"{API}{run.public_id}/steps/s/resolve/", {"reason": "I asked them", **body}, format="json")


def test_an_uncertain_step_is_resolved_once(operator, uncertain):
    done = resolve(operator, uncertain, outcome="completed", output={"value": 1}, reason="seen in the log")
    assert (done.status_code, done.json()["status"]) == (200, "completed")
    assert done.json()["steps"][0]["output"] == {"value": 1}
    assert resolve(operator, uncertain, outcome="again").status_code == 409


def test_an_uncertain_step_runs_again(operator, uncertain):
    again = resolve(operator, uncertain, outcome="again").json()
    assert (again["status"], again["steps"][0]["status"]) == ("running", "ready")


def test_what_is_said_of_an_uncertain_step_is_checked(operator, viewer, uncertain):
    assert pointers(resolve(operator, uncertain, outcome="completed", output={"no": 1})) == ["/output", "/output"]
    assert pointers(resolve(operator, uncertain, outcome="failed", output={"value": 1})) == ["/output"]
    assert pointers(resolve(operator, uncertain, outcome="maybe")) == ["/outcome"]
    assert pointers(resolve(operator, uncertain)) == ["/outcome"]
    assert resolve(viewer, uncertain, outcome="again").status_code == 403
    absent = operator.post(f"{API}{uncertain.public_id}/steps/none/resolve/", {"outcome": "again"}, format="json")
    assert absent.status_code == 404
    assert uncertain.steps.get().status == "uncertain"


def test_what_a_person_says_is_checked_once_and_by_the_operation_that_was_called(operator, begin, save_agent):
    reads = {
        "sql": "select 1",
        "parameters": {"type": "object", "additionalProperties": False},
        "output": {"type": "object", "required": ["month"]},
    }
    save_agent(
        name="figures",
        kind="tool",
        repeatable=False,
        output={"type": "object", "required": ["rows"]},
        configuration={"connection": "supabase", "operations": {"read": reads}},
    )
    run = begin("  s: {agent: figures, with: {operation: read}}\n")
    claim(run)
    settling.settle((run.pk, 1, 1), "running", settling.Outcome("uncertain", input={"operation": "read"}))
    assert pointers(resolve(operator, run, outcome="completed", output={"rows": []})) == ["/output"]
    done = resolve(operator, run, outcome="completed", output={"month": "2026-10"})
    assert (done.status_code, done.json()["status"]) == (200, "completed")


def test_events_are_pages_from_a_number_on(operator, uncertain):
    address = f"{API}{uncertain.public_id}/events"
    for path in (address, address + "/"):
        assert [event["seq"] for event in operator.get(path).json()["results"]] == [1, 2]
    page = operator.get(address, {"limit": 1}).json()
    assert page["results"][0]["type"] == "run.started"
    assert set(page["results"][0]) == {"seq", "type", "at", "definition", "version"}
    following = operator.get(page["next"]).json()
    assert [event["type"] for event in following["results"]] == ["step.uncertain"]
    assert following["next"] is None
    for wrong in ({"after": "x"}, {"after": -1}, {"after": 2**31}, {"limit": 0}):
        assert pointers(operator.get(address, wrong)) == [f"/{next(iter(wrong))}"]


def test_large_values_are_shown_whole(operator, begin):
    run = begin("  s: {agent: echo}\n")
    claim(run)
    large = {"value": "x" * 10_000}
    settling.settle((run.pk, 1, 1), "running", settling.Outcome("completed", output=large, input=large))
    step = operator.get(f"{API}{run.public_id}/").json()["steps"][0]
    assert (step["output"], step["input"]) == (large, large)


def test_two_requests_with_one_key_at_once_start_one_run(committed, save, members):
    save(ECHO)

    def begin_once(number):
        return start_once(definition="echoes", given={"n": 1}, by=members.operator, key=f"k{number}").public_id

    found = race(50, begin_once, begin_once)
    assert all(one == other for one, other in found)
    assert len({one for one, _ in found}) == Run.objects.count() == 50
