"""A worker that was frozen, was declared dead, and has a new life."""

import signal

import pytest

from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.models import Event, Step, Worker
from tests.harness import until
from tests.orchestration.crashes.looks import WRITER, ended

SHORT = {"WORKER_LEASE_SECONDS": 1.0, "WORKER_HEARTBEAT_SECONDS": 0.2}


@pytest.fixture
def freeze():
    """Freeze a worker that is held at its point; what it gives wakes it, and lets it go on in its next life."""

    def freeze(worker):
        until(lambda: worker.reached)
        worker.send(signal.SIGSTOP)

        def wake():
            worker.send(signal.SIGCONT)
            until(lambda: Worker.objects.filter(pid=worker.pid, dead_at=None).exists())
            worker.go_on()

        return wake

    return freeze


def test_what_was_claimed_in_one_life_is_not_called_in_the_next(
    nursery, begin, save_agent, simulator, members, freeze, at_rest
):
    save_agent(name="writer", repeatable=False, **WRITER)
    run = begin("  a: {agent: writer, with: {text: hello}}\n")
    victim = nursery.worker(at="claimed", what="hold", **SHORT)
    wake = freeze(victim)
    heir = nursery.worker(**SHORT)
    step = until(lambda: Step.objects.filter(run_id=run.pk, name="a", status="uncertain").first())
    answers.resolve(run, step, by=members.operator, outcome="again", output=None, reason="it was not sent")
    assert ended(run).status == "completed"
    wake()
    until(lambda: Event.objects.filter(run_id=run.pk, type="step.late_result").exists())
    assert simulator.keys() == {f"{run.public_id}:a:1": 1}
    at_rest(heir, victim)


def test_a_question_whose_transaction_was_ended_meanwhile_is_asked_again(nursery, order, at_rest):
    """A recorder that stands still in it for a lease; the rest of the worker goes on, so no other takes its steps."""
    sessions = "select 1 from pg_stat_activity where datname = current_database() and state = 'idle in transaction'"
    run = order.begin()
    worker = nursery.worker(at="prepared", what="hold", **SHORT)
    until(lambda: worker.reached)
    until(lambda: not rows(sessions))
    worker.go_on()
    order.check(run)
    at_rest(worker)
