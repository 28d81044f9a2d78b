"""Time-outs, queues and locks at their edges: what waits long, hangs, or is handed in while nothing can be written."""

import socket
import threading

import pytest
from django.db import connection, transaction

from agents import tools
from orchestration.engine import answers, hands
from orchestration.engine.connection import rows, value
from orchestration.models import Deliverable, Event, Run, Step, Worker
from tests.harness import Hold, assert_sound, claim, end, end_lease, make_worker, sweep, until
from tests.orchestration.conftest import SESSIONS

GATED = "name: child\nsteps: {a: {approval: {title: t}}}\noutput: 5"


@pytest.fixture
def boss(save_agent, save):
    save(GATED)
    return save_agent(
        name="boss",
        kind="orchestrator",
        configuration={"definitions": ["child"]},
        output={"type": "integer", "maximum": 5},
    )


@pytest.fixture
def stuck(save_agent):
    """An agent whose calls hang until the test is over."""
    held = Hold()
    held.deaf = True
    tools.register("stuck", {"stuck": held})
    save_agent(name="stuck", kind="tool", configuration={"tool": "stuck"})
    yield
    held.go.set()


@pytest.fixture
def held_lock():
    """Lock a run from another connection until the test lets go."""
    done, threads = threading.Event(), []

    def hold_lock(run):
        locked = threading.Event()

        def keep():
            with transaction.atomic():
                Run.objects.select_for_update().get(pk=run.pk)
                locked.set()
                done.wait(20)
            connection.close()

        threads.append(threading.Thread(target=keep))
        threads[-1].start()
        assert locked.wait(10)
        return done

    yield hold_lock
    done.set()
    for thread in threads:
        thread.join()


def step(run, name):
    return Step.objects.filter(run_id=run.pk, name=name).order_by("-round").first()


def decide_child(run, members, choice="continue"):
    child = until(lambda: Run.objects.filter(parent_run_id=run.pk).first())
    request = until(lambda: answers.Request.objects.pending().filter(context__run=child.public_id).first())
    request.decide(by=members.approver, choice=choice, digest=request.digest)
    return child


def test_a_child_that_takes_too_long_fails_the_step_and_is_canceled(begin, engine, boss, finished):
    run = begin("  call: {agent: boss, timeout: 200ms}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "timeout")
    child = Run.objects.get(parent_run_id=run.pk)
    assert finished(child).status == "canceled"
    assert assert_sound(run.pk).status == "failed"


def test_a_childs_output_makes_the_steps_deliverable(begin, engine, boss, members, finished):
    deliverable = '{name: total, title: Total, content: "${{ output }}"}'
    run = begin(f"  call: {{agent: boss, deliverable: {deliverable}}}\n")
    engine.look()
    decide_child(run, members)
    engine.look()
    assert finished(run).status == "completed"
    assert Deliverable.objects.get(run_id=run.pk).content == "5"


def test_a_childs_output_is_held_to_the_agents_schema(begin, engine, boss, save, members, finished):
    save(GATED.replace("output: 5", "output: 6"))
    run = begin("  call: {agent: boss}\n")
    engine.look()
    decide_child(run, members)
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "permanent")
    assert "schema" in run.error["message"]


def test_a_hung_call_is_tried_again_as_retry_says(begin, engine, hold, finished, monkeypatch):
    monkeypatch.setattr(hands, "HUNG_GRACE_SECONDS", 0.1)
    hold.deaf = True
    run = begin("  a: {agent: hold, timeout: 100ms, retry: {attempts: 2, backoff: 1ms}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "timeout")
    assert len(hold.calls) == 2
    hold.go.set()
    until(lambda: Event.objects.filter(run_id=run.pk, type="step.late_result").count() == 2)
    until(lambda: engine.process.hands.free() == 8)


def test_a_hung_call_that_may_not_be_repeated_is_uncertain(begin, engine, hold, monkeypatch):
    monkeypatch.setattr(hands, "HUNG_GRACE_SECONDS", 0.1)
    hold.deaf = True
    run = begin("  a: {agent: once, timeout: 100ms, retry: {attempts: 2, backoff: 1ms}}\n")
    engine.look()
    until(lambda: step(run, "a").status == "uncertain")
    assert len(hold.calls) == 1


@pytest.fixture
def locked_table():
    """Lock a table from another connection; what it gives lets go."""
    others = []

    def lock(name):
        others.append(connection.copy())
        others[-1].cursor().execute(f"begin; lock table {name} in access exclusive mode")
        return others[-1].close

    yield lock
    for other in others:
        other.close()


def test_a_step_that_cannot_come_to_its_call_is_handed_back(
    begin, engine, hold, members, finished, locked_table, monkeypatch
):
    monkeypatch.setattr(hands, "HUNG_GRACE_SECONDS", 0.1)
    hold.go.set()
    steps = """
  a: {agent: echo, with: {value: "${{ input.big }}"}}
  g: {needs: [a], approval: {title: t}}
  b: {agent: once, needs: [a, g], with: {value: "${{ steps.a.output.value }}"}, timeout: 100ms}
"""
    run = begin(steps, {"big": "x" * 5000})
    engine.look()
    request = until(lambda: answers.Request.objects.pending().first())
    let_go = locked_table("orchestration_payload")
    request.decide(by=members.approver, choice="continue", digest=request.digest)
    engine.look()
    until(lambda: Event.objects.filter(run_id=run.pk, type="step.ready").exists())
    let_go()
    run = finished(run)
    assert (run.status, hold.calls, step(run, "b").attempt) == ("completed", [f"{run.public_id}:b:1"], 1)


def test_an_outcome_that_waits_to_be_written_is_no_hung_call(
    begin, engine, hold, stuck, held_lock, finished, monkeypatch
):
    monkeypatch.setattr(hands, "HUNG_GRACE_SECONDS", 0.05)
    run = begin("  a: {agent: once, timeout: 1s}\n  b: {agent: echo, needs: [a]}\n")
    engine.look()
    until(lambda: hold.calls)
    let_go = held_lock(run)
    hold.go.set()
    other = begin("  a: {agent: stuck, timeout: 1s}\n")
    engine.look()
    assert finished(other).error["class"] == "timeout"  # it began later, so the first one's time is over too
    let_go.set()
    assert finished(run).status == "completed"
    assert len(hold.calls) == 1
    assert not Event.objects.filter(run_id=run.pk, type="step.late_result").exists()


WAITING = "select query from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def test_an_outcome_whose_connection_is_cut_while_it_waits_for_its_run_is_recorded_once(
    begin, engine_later, through_cutter, hold, held_lock, finished
):
    run = begin("  a: {agent: hold}\n")
    engine_later()
    until(lambda: hold.calls)
    let_go = held_lock(run)
    hold.go.set()
    until(lambda: rows(WAITING))
    patient = [line for line in through_cutter.lines if b"engine_flush" in line.head][-1]
    patient.client.shutdown(socket.SHUT_RDWR)  # the server goes on waiting
    until(lambda: len(rows(WAITING)) == 2)
    let_go.set()
    assert finished(run).status == "completed"
    assert not Event.objects.filter(run_id=run.pk, type="step.late_result").exists()


def test_a_run_that_is_locked_keeps_no_other_from_being_handed_back_nor_the_lease_from_its_end(
    begin, engine, hold, held_lock, settings
):
    settings.WORKER_DRAIN_SECONDS = 0.1
    hold.deaf = True
    runs = [begin("  a: {agent: hold}\n") for _ in range(2)]
    engine.look()
    until(lambda: len(hold.calls) == 2)
    let_go = held_lock(runs[0])
    engine.stop()
    assert [step(run, "a").status for run in runs] == ["running", "ready"]
    assert not Worker.objects.filter(dead_at=None).exists()
    let_go.set()
    until(lambda: sweep(make_worker())["swept"])
    assert step(runs[0], "a").status == "ready"


def test_an_outcome_that_waited_for_its_run_gives_its_connection_back(begin, engine, hold, held_lock, finished):
    run = begin("  a: {agent: once}\n")
    engine.look()
    until(lambda: hold.calls)
    let_go = held_lock(run)
    hold.go.set()
    until(lambda: value(f"{SESSIONS} and wait_event_type = 'Lock' and query like '%%engine_flush%%'"))
    let_go.set()
    assert finished(run).status == "completed"
    until(lambda: value(SESSIONS) <= 4)


def waiting_starts():
    """Connections that wait for a lock to start a run, and since when."""
    return set(
        rows(
            "select pid, query_start from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and query like '%%engine_start%%'"
        )
    )


def test_a_child_that_waits_for_its_parents_lock_holds_up_no_other_start(begin, engine, boss, hold, held_lock):
    run = begin("  a: {agent: hold}\n  call: {agent: boss, needs: [a]}\n")
    engine.look()
    until(lambda: hold.calls)
    hold.go.set()
    until(lambda: Run.objects.filter(parent_run_id=run.pk).exists() or step(run, "call").status == "running")
    held_lock(run)
    until(lambda: waiting_starts() or Run.objects.filter(parent_run_id=run.pk).exists())
    stuck = waiting_starts()
    begin("  a: {agent: echo}\n")
    assert stuck <= waiting_starts()


def test_a_walker_goes_on_only_in_the_queues_of_its_worker(begin, engine_later, members, settings):
    settings.WORKER_QUEUES = ["tool"]
    run = begin("  a: {agent: echo}\n  gate: {needs: [a], approval: {title: t}}\n")
    engine_later().look()
    until(lambda: step(run, "a").status == "completed")
    until(lambda: step(run, "gate").status == "ready")
    assert step(run, "gate").owner is None


def test_a_dead_workers_step_in_a_canceled_run_is_canceled(begin, committed, members):
    worker, other = make_worker(), make_worker()
    run = begin("  a: {agent: echo}\n")
    (claimed,) = claim(worker)
    answers.cancel(run, by=members.operator, reason="r")
    end_lease(worker)
    sweep(other)
    assert assert_sound(run.pk).status == "canceled"
    assert end(worker, claimed) == ["late"]


def test_a_cancel_forgets_no_child_that_is_not_waited_for_any_more(begin, engine, boss):
    run = begin(
        """
  a: {agent: boss, timeout: 1h}
  b: {agent: echo, with: {fail: {kind: temporary}}, retry: {attempts: 2, backoff: 1h}}
"""
    )
    until(lambda: Step.objects.filter(run_id=run.pk, status="waiting").count() == 2)
    child = until(lambda: Run.objects.filter(parent_run_id=run.pk, status="waiting").first())
    engine.stop()
    over = Step.objects.filter(run_id=run.pk, name="a")
    over.update(wake_at=over.get().started_at)
    sweep(make_worker())
    assert over.get().status == "failed"
    run.refresh_from_db()
    answers.cancel(run, by=None, reason="r")
    assert assert_sound(run.pk).status == "canceled"
    assert assert_sound(child.pk).status == "canceled"
