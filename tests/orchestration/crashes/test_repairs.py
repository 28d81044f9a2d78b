"""Who repairs what another left, is killed in its turn."""

import signal

import pytest
from django.db import transaction

from accounts.models import AuditEntry
from approvals.models import Request
from config.chaos.cutting import PORT
from orchestration.engine.connection import rows
from orchestration.models import Step, Worker
from tests.harness import until
from tests.orchestration.crashes.looks import WRITER, ended, pending


@pytest.fixture
def outlived(nursery, order, at_rest):
    """The victim has died at its point; what is left of the run is an heir's."""

    def outlived(run, victim):
        until(lambda: victim.is_gone or order.drive(run))
        assert victim.reached, victim.words()
        before = order.done(run)
        heir = nursery.worker()
        order.check(run, before)
        at_rest(heir)

    return outlived


@pytest.mark.parametrize("point", ["recovering", "handed_back"])
def test_a_kill_of_a_worker_that_recovers_a_lost_claim(nursery, order, cutter, outlived, point):
    cutter.cut(b'"outcome":"completed"')
    run = order.begin()
    outlived(run, nursery.worker(at=point, database={"HOST": str(cutter.folder), "PORT": str(PORT)}))


@pytest.mark.parametrize(("point", "seconds"), [("drain", 0.3), ("handed_back", 30), ("drained", 0.3)])
def test_a_kill_of_a_worker_that_drains(nursery, order, simulator, outlived, point, seconds):
    run = order.begin("slow", seconds)
    victim = nursery.worker(at=point, WORKER_DRAIN_SECONDS=0.2)
    until(simulator.keys)
    victim.send(signal.SIGTERM)
    outlived(run, victim)


def test_a_kill_of_a_worker_that_waits_for_a_run_that_is_locked(nursery, order, simulator, outlived):
    run = order.begin("slow", 1.0)
    victim = nursery.worker(at="patient")
    until(simulator.keys)
    with transaction.atomic():
        rows("select from orchestration_run where id = %s for no key update", [run.pk])
        until(lambda: victim.is_gone)
    outlived(run, victim)


def test_a_kill_of_a_worker_that_declared_another_dead(nursery, order, simulator, outlived):
    run = order.begin("slow", 30)
    first = nursery.worker()
    until(simulator.keys)
    victim = nursery.worker(at="gone")
    first.kill()
    outlived(run, victim)


def test_a_kill_of_a_worker_that_takes_another_life(nursery, order, outlived):
    short = {"WORKER_LEASE_SECONDS": 1.0, "WORKER_HEARTBEAT_SECONDS": 0.2}
    victim = nursery.worker(at="taken", nth=2, **short)
    until(lambda: Worker.objects.filter(pid=victim.pid).exists())
    victim.send(signal.SIGSTOP)
    other = nursery.worker(**short)
    until(lambda: Worker.objects.filter(pid=victim.pid, dead_at__isnull=False).exists())
    victim.send(signal.SIGCONT)
    until(lambda: victim.is_gone)
    other.terminate()
    outlived(order.begin(), victim)


def test_a_kill_of_a_worker_that_let_deadlines_answer(nursery, begin, at_rest):
    run = begin(
        "  g: {approval: {title: t, deadline: {after: 50ms, then: continue}}}\n  b: {agent: echo, needs: [g]}\n"
    )
    victim = nursery.worker(at="expired")
    until(lambda: victim.is_gone)
    assert victim.reached
    assert Request.objects.get().choice == "continue"
    heir = nursery.worker()
    assert ended(run).status == "completed"
    at_rest(heir)


def test_a_kill_of_a_worker_that_asks_a_gate_again(nursery, begin, save_agent, simulator, members, at_rest):
    save_agent(name="writer", **WRITER)
    run = begin("  g: {approval: {title: t}}\n  b: {agent: writer, needs: [g], with: {text: hello}}\n")
    first = nursery.worker()
    asked = pending(run)
    first.kill()
    another = save_agent(name="writer", **{**WRITER, "configuration": {"instructions": "Write more."}})
    rows("update orchestration_step set agent_version_id = %s where run_id = %s and name = 'b'", [another.pk, run.pk])
    asked.decide(by=members.approver, choice="continue", digest=asked.digest)
    victim = nursery.worker(at="reopened")
    until(lambda: victim.is_gone)
    assert victim.reached
    heir = nursery.worker()
    again = pending(run)
    assert again.pk != asked.pk
    again.decide(by=members.approver, choice="continue", digest=again.digest)
    assert ended(run).status == "completed"
    assert sum(simulator.keys().values()) == 1
    at_rest(heir)


def test_a_kill_of_who_says_what_became_of_a_step(nursery, begin, save_agent, simulator, members, at_rest):
    save_agent(name="writer", repeatable=False, **WRITER)
    simulator.slow_once(30)
    run = begin("  a: {agent: writer, with: {text: hello}}\n")
    victim = nursery.worker()
    until(simulator.keys)
    victim.kill()
    heir = nursery.worker()
    step = until(lambda: Step.objects.filter(run_id=run.pk, status="uncertain").first())
    words = {"step": step.pk, "by": members.operator.pk}
    site = nursery.fork("resolve", at="resolving", given=words)
    until(lambda: site.is_gone)
    step.refresh_from_db()
    assert (site.reached, step.status) == (True, "uncertain")
    site = nursery.fork("resolve", given=words)  # it exits at once: no hint leaves it
    assert ended(run).status == "completed"
    assert simulator.keys() == {f"{run.public_id}:a:1": 2}
    assert AuditEntry.objects.filter(action="step.resolve").count() == 1
    at_rest(heir)
