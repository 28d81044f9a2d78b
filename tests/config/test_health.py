import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from config import health
from orchestration.engine import settling
from orchestration.engine.connection import rows


@pytest.fixture(autouse=True)
def unknown():
    health.all_migrated.cache_clear()
    yield
    health.all_migrated.cache_clear()


def test_the_process_is_up(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_ready_when_all_is_there(client, db):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "database": "ok", "valkey": "ok"})


def test_not_ready_until_the_database_is_migrated(client, db):
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("orchestration")
    MigrationRecorder(connection).record_unapplied(*newest)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "run manage.py migrate" in answer.json()["database"]
    MigrationRecorder(connection).record_applied(*newest)
    assert client.get("/readyz").status_code == 200


def test_without_valkey_the_site_is_ready_and_says_what_is_late(client, db, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert "cannot be reached" in answer.json()["valkey"]


def test_metrics_count_what_is_open(client, begin):
    run = begin("  first: {agent: echo}\n  second: {agent: echo, needs: [first]}\n")
    done = begin("  s: {agent: echo}\n")
    rows("update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s", [done.pk])
    settling.settle((done.pk, 1, 1), "running", settling.Outcome("completed"))
    rows("update orchestration_run set created_at = created_at - interval '1 hour' where id = %s", [run.pk])
    text = client.get("/metrics").content.decode()
    assert 'countersign_runs{status="running"} 1.0' in text
    assert 'countersign_steps{status="ready"} 1.0' in text
    assert 'countersign_steps{status="uncertain"} 0.0' in text
    assert "countersign_requests_pending 0.0" in text
    assert "countersign_workers 0.0" in text
    (age,) = (line.split()[1] for line in text.splitlines() if line.startswith("countersign_oldest_ready_seconds "))
    assert 3600 <= float(age) < 3660


def test_metrics_ask_for_their_token_if_there_is_one(client, db, settings):
    settings.METRICS_TOKEN = "a-token"
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer ä"}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a-token"}).status_code == 200
