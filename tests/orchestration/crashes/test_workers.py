"""Worker processes that are killed, frozen and told to go, for real. No finished step runs twice: what reached the
model's server is counted there, by Idempotency-Key."""

import signal

import pytest

from orchestration.engine import answers
from orchestration.engine.starts import start
from orchestration.models import Deliverable, Event, Step
from tests.harness import assert_sound, until
from tests.orchestration.crashes.looks import WRITER, ended, owner_of, pending, running


@pytest.fixture
def slow_figures(agents, save_agent):
    """A version of the agent whose database takes its time."""
    version = agents["supabase-agent"]
    operation = version.operations["kpi_by_month"]
    sql = operation["sql"].replace("order by", "and pg_sleep(0.1) is not null order by")
    save_agent(
        name="supabase-agent",
        kind="tool",
        configuration={"connection": "supabase", "operations": {"kpi_by_month": {**operation, "sql": sql}}},
    )


def test_kpi_tracking_survives_a_kill_in_the_middle_of_each_step(
    kpi, slow_figures, month, workers, simulator, organization, members, at_rest
):
    simulator.slow_once(30)
    crew = workers(2)
    first = crew[0].wait_for_lease(), crew[1].wait_for_lease()
    run = start(organization=organization, definition="kpi-tracking", given={"month": month}, by=members.operator)
    owner_of(running(run, "figures"), first).kill()

    request = pending(run)  # the other one took the step
    (survivor,) = [worker for worker in crew if worker.process.poll() is None]
    heirs = workers(2)
    survivor.kill()
    request.decide(by=members.approver, choice="continue", digest=request.digest, edits={"/rows/0/amount": 12})
    crew = [worker.wait_for_lease() for worker in heirs]
    until(simulator.keys, 30)
    owner_of(running(run, "summary"), crew).kill()

    run = ended(run)
    assert run.status == "completed"
    assert simulator.keys() == {f"{run.public_id}:summary:1": 2}
    told = list(Event.objects.filter(run_id=run.pk).order_by("seq").values_list("type", "data__step"))
    assert [name for kind, name in told if kind == "step.completed"] == ["figures", "check", "summary"]
    assert [name for kind, name in told if kind == "step.started"] == [
        "figures",
        "figures",
        "check",
        "summary",
        "summary",
    ]
    assert Deliverable.objects.filter(run_id=run.pk).count() == 1
    assert "12" in run.output["report"]
    at_rest(*[worker for worker in crew if worker.process.poll() is None])


def test_a_step_that_may_not_be_repeated_is_uncertain_after_a_kill(
    committed, begin, save_agent, workers, simulator, members, at_rest
):
    save_agent(name="writer", repeatable=False, **WRITER)
    simulator.slow_once(30)
    crew = workers(2)
    for worker in crew:
        worker.wait_for_lease()
    run = begin("  a: {agent: writer, with: {text: hello}}\n  b: {agent: writer, needs: [a], with: {text: world}}\n")
    until(simulator.keys)
    victim = owner_of(running(run, "a"), crew)
    victim.kill()
    step = until(lambda: Step.objects.filter(run_id=run.pk, name="a", status="uncertain").first(), 30)
    assert assert_sound(run.pk).status == "waiting"
    answers.resolve(run, step, by=members.operator, outcome="completed", output={"text": "it was sent"}, reason="seen")
    assert ended(run).status == "completed"
    assert simulator.keys() == {f"{run.public_id}:a:1": 1, f"{run.public_id}:b:1": 1}
    at_rest(*[worker for worker in crew if worker is not victim])


def test_a_frozen_worker_is_declared_dead_and_what_it_says_later_changes_nothing(
    committed, begin, save_agent, workers, simulator, at_rest
):
    save_agent(name="writer", **WRITER)
    simulator.slow_once(2.5)
    crew = workers(2, WORKER_LEASE_SECONDS="1.5")
    for worker in crew:
        worker.wait_for_lease()
    run = begin("  a: {agent: writer, with: {text: hello}}\n")
    until(simulator.keys)
    frozen = owner_of(running(run, "a"), crew)
    frozen.send(signal.SIGSTOP)
    run = ended(run)
    assert (run.status, simulator.keys()) == ("completed", {f"{run.public_id}:a:1": 2})
    output = Step.objects.get(run_id=run.pk).output
    frozen.send(signal.SIGCONT)
    until(lambda: Event.objects.filter(run_id=run.pk, type="step.late_result").exists(), 30)
    assert assert_sound(run.pk).status == "completed"
    assert Step.objects.get(run_id=run.pk).output == output
    first = frozen.id
    assert frozen.wait_for_lease().id != first  # another life
    at_rest(*crew)


def test_sigterm_in_mid_run_loses_nothing_and_waits_for_no_lease(
    committed, begin, save_agent, workers, simulator, at_rest
):
    save_agent(name="writer", **WRITER)
    simulator.slow_once(1.0)
    crew = workers(2, WORKER_LEASE_SECONDS="600", WORKER_HEARTBEAT_SECONDS="10")
    steps = "".join(f"  s{n}: {{agent: writer, needs: [s{n - 1}], with: {{text: t}}}}\n" for n in range(1, 6))
    for worker in crew:
        worker.wait_for_lease()
    run = begin(f"  s0: {{agent: writer, with: {{text: t}}}}\n{steps}")
    until(simulator.keys)
    leaving = owner_of(running(run, "s0"), crew)
    assert leaving.terminate() == 0
    run = ended(run)  # long before the lease
    assert run.status == "completed"
    assert simulator.keys() == {f"{run.public_id}:s{n}:1": 1 for n in range(6)}
    at_rest(*[worker for worker in crew if worker is not leaving])


def test_sigterm_hands_back_a_call_that_outlasts_the_grace_time(
    committed, begin, save_agent, workers, simulator, at_rest
):
    save_agent(name="writer", **WRITER)
    simulator.slow_once(30)
    (leaving,) = workers(1, WORKER_LEASE_SECONDS="600", WORKER_HEARTBEAT_SECONDS="10", WORKER_DRAIN_SECONDS="0.2")
    run = begin("  a: {agent: writer, with: {text: hello}}\n")
    leaving.wait_for_lease()
    until(simulator.keys)
    (heir,) = workers(1, WORKER_LEASE_SECONDS="600", WORKER_HEARTBEAT_SECONDS="10")
    heir.wait_for_lease()
    leaving.process.send_signal(signal.SIGTERM)
    run = ended(run)  # long before the lease
    assert (run.status, simulator.keys()) == ("completed", {f"{run.public_id}:a:1": 2})
    assert Step.objects.get(run_id=run.pk).attempt == 1
    assert leaving.process.wait(20) == 0
    at_rest(heir)
