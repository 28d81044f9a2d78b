from django.core.management import call_command
from jsonschema import Draft202012Validator


def test_the_api_describes_itself_without_a_warning(tmp_path):
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
    text = file.read_text()
    assert "openapi: 3.1" in text
    for path in ("runs/{public_id}/events", "approvals/{public_id}/decision/", "definitions/check/", "deliverables/"):
        assert f"  /api/v1/{path}" in text


def test_the_language_publishes_its_schema(client):
    answer = client.get("/schema/definition.json")
    assert answer.headers["Content-Type"] == "application/schema+json"
    Draft202012Validator.check_schema(answer.json())


def test_what_is_not_there_is_a_problem(client, db):
    answer = client.get("/api/v1/nowhere/")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)
