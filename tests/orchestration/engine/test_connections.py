"""Connections to the database: lost in mid-work, and not held during calls."""

from django.db import transaction

from orchestration.engine.connection import rows, value
from orchestration.models import Event, Run
from tests.harness import assert_sound, until
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
        rows(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
    assert {finished(run).status for run in runs} == {"completed"}
    assert Event.objects.filter(type="step.completed").count() == 12 * 9


def test_a_call_holds_no_connection(begin, engine, hold):
    sessions = "select count(*) from pg_stat_activity where datname = current_database() and state is not null"
    until(lambda: engine.process.sweeper.is_alive())
    run = begin("".join(f"  s{n}: {{agent: hold}}\n" for n in range(8)))
    engine.look()
    until(lambda: len(hold.calls) == 8)
    until(lambda: value(sessions) <= 4)  # this test's, the recorder's, the sweeper's, the lease's
    assert_sound(run.pk)
