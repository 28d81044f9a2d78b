"""Connections to the database: lost in mid-work, and not held during calls."""

from django.db import transaction

from orchestration.engine.connection import array, rows, value
from orchestration.models import Event, Run
from tests.harness import assert_sound, claim, until
from tests.orchestration.conftest import END_SESSIONS, SESSIONS
from tests.orchestration.engine.looks import step, types


def test_a_connection_lost_before_the_call_hands_the_step_back(committed, begin, engine_later, hold, finished):
    hold.go.set()
    run = begin("  a: {agent: once}\n")
    waits = "from pg_locks where relation = 'agents_agentversion'::regclass and not granted"
    with transaction.atomic():
        rows("lock table agents_agentversion in access exclusive mode")
        engine_later()
        until(lambda: rows(f"select pg_terminate_backend(pid) {waits}"))
    run = finished(run)
    assert (run.status, hold.calls, step(run, "a").attempt) == ("completed", [f"{run.public_id}:a:1"], 1)
    assert "step.ready" in types(run)


def test_connections_lost_again_and_again_lose_nothing(begin, engine, finished):
    chain = "".join(f"  s{n}: {{agent: echo, needs: [s{n - 1}], with: {{seconds: 0.01}}}}\n" for n in range(1, 8))
    runs = [begin(f"  s0: {{agent: echo}}\n  t: {{agent: echo, needs: [s7]}}\n{chain}") for _ in range(12)]
    engine.look()
    for _ in range(12):
        before = Event.objects.count()
        until(lambda before=before: Event.objects.count() > before or not Run.objects.filter(ended_at=None).exists())
        rows(END_SESSIONS)
    assert {finished(run).status for run in runs} == {"completed"}
    assert Event.objects.filter(type="step.completed").count() == 12 * 9


def test_a_call_holds_no_connection(begin, engine, hold):
    until(lambda: engine.process.sweeper.is_alive())
    run = begin("".join(f"  s{n}: {{agent: hold}}\n" for n in range(8)))
    engine.look()
    until(lambda: len(hold.calls) == 8)
    until(lambda: value(SESSIONS) <= 4)  # this test's, the recorder's, the sweeper's, the lease's
    assert_sound(run.pk)


def test_a_database_that_is_read_only_for_a_while_loses_no_outcome(begin, engine, hold, finished, read_only, caplog):
    run = begin("  a: {agent: once, with: {value: 7}}\n")
    engine.look()
    until(lambda: hold.calls)
    make_writable = read_only()
    hold.go.set()
    until(lambda: any("connection_lost" in line and "read-only" in line for line in caplog.text.splitlines()))
    make_writable()
    run = finished(run)
    assert (run.status, step(run, "a").output, len(hold.calls)) == ("completed", {"value": 7}, 1)


def test_a_claim_that_its_worker_never_heard_of_is_handed_back(begin, engine_later, hold, settings):
    """The server had begun it when the connection was lost, and it was committed after the worker had looked."""
    settings.WORKER_QUEUES = ["default"]
    engine = engine_later()
    run = begin("  a: {agent: once}\n")
    assert len(claim(engine.process.worker_id)) == 1
    until(lambda: step(run, "a").status == "ready")
    assert (assert_sound(run.pk).status, step(run, "a").attempt) == ("running", 0)


def test_names_are_an_array_as_postgresql_reads_it(db):
    names = ["default", "two words", 'a "b", {c}', "d\\e\n", "", "null", "ü"]
    assert rows("select %s::text[]", [array(*names)]) == [(names,)]
