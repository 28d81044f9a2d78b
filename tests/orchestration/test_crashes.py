"""Processes that are killed, frozen and told to go, for real. No finished step runs twice: what reached the model's
server is counted there, by Idempotency-Key."""

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from accounts.models import ApiToken
from agents.gateways import database
from approvals.models import Request
from config.up.processes import Account, kill_group
from config.up.services import away_folder, services_of, socket_folder, wait_until_ready
from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.engine.plans import agent_of, plan_of
from orchestration.engine.starts import start
from orchestration.models import Deliverable, Event, Run, Step
from orchestration.seeding import seed_definitions
from simulators.kpi import seed_kpi
from tests.harness import Web, assert_sound, claim, end, make_worker, until

WRITER = {
    "kind": "context",
    "configuration": {"instructions": "Write."},
    "input": {"type": "object", "properties": {"text": {"type": "string"}}},
}


def running(run, name):
    return until(lambda: Step.objects.filter(run_id=run.pk, name=name, status="running").first(), 30)


def ended(run, seconds=30):
    until(lambda: Run.objects.filter(pk=run.pk, ended_at__isnull=False).exists(), seconds)
    return assert_sound(run.pk)


def pending(run):
    return until(lambda: Request.objects.pending().filter(context__run=run.public_id).first(), 30)


def owner_of(step, workers):
    (worker,) = [worker for worker in workers if worker.id == step.owner]
    return worker


@pytest.fixture
def kpi(committed, organization, agents, policies):
    """The demo's figures, and the shipped definition."""
    seed_kpi()
    seed_definitions(organization)
    yield
    database.close_pools()


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


@pytest.fixture
def month():
    ((month,),) = rows("select to_char(max(month), 'YYYY-MM') from kpi.figures")
    return month


def test_kpi_tracking_survives_a_kill_in_the_middle_of_each_step(
    kpi, slow_figures, month, workers, simulator, organization, members
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


def test_a_step_that_may_not_be_repeated_is_uncertain_after_a_kill(
    committed, begin, save_agent, workers, simulator, members
):
    save_agent(name="writer", repeatable=False, **WRITER)
    simulator.slow_once(30)
    crew = workers(2)
    for worker in crew:
        worker.wait_for_lease()
    run = begin("  a: {agent: writer, with: {text: hello}}\n  b: {agent: writer, needs: [a], with: {text: world}}\n")
    until(simulator.keys)
    owner_of(running(run, "a"), crew).kill()
    step = until(lambda: Step.objects.filter(run_id=run.pk, name="a", status="uncertain").first(), 30)
    assert assert_sound(run.pk).status == "waiting"
    answers.resolve(run, step, by=members.operator, outcome="completed", output={"text": "it was sent"}, reason="seen")
    assert ended(run).status == "completed"
    assert simulator.keys() == {f"{run.public_id}:a:1": 1, f"{run.public_id}:b:1": 1}


def test_a_frozen_worker_is_declared_dead_and_what_it_says_later_changes_nothing(
    committed, begin, save_agent, workers, simulator
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


def test_sigterm_in_mid_run_loses_nothing_and_waits_for_no_lease(committed, begin, save_agent, workers, simulator):
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


def test_sigterm_hands_back_a_call_that_outlasts_the_grace_time(committed, begin, save_agent, workers, simulator):
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


# --- the servers below


@pytest.fixture
def servers(django_db_setup, django_db_blocker):
    """A PostgreSQL and a Valkey of this test's own, which Django talks to instead of the usual ones."""
    data = Path(tempfile.mkdtemp(prefix="countersign-crash-", dir="/tmp"))
    data.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (data / "log").mkdir(mode=0o700)
    # What a killed process has written, the kernel still has: only a machine that loses its power needs fsync.
    postgres, valkey = services_of(data, data / "log", {"fsync": "off"})
    usual = dict(connection.settings_dict)
    try:
        for service in (postgres, valkey):
            service.start()
        wait_until_ready([postgres, valkey])
        with django_db_blocker.unblock():
            connections.close_all()
            connection.settings_dict.update(
                HOST=str(postgres.sockets), PORT="", USER="countersign", PASSWORD="", NAME="countersign"
            )
            call_command("migrate", verbosity=0)
        forget_versions()
        yield postgres, valkey
    finally:
        forget_versions()
        connections.close_all()
        connection.settings_dict.update(usual)
        for service in (postgres, valkey):
            if service.process is not None:
                kill_group(service.process)
                service.process.wait(timeout=10)
        for path in (socket_folder(data, Account.choose()), away_folder(data), data):
            shutil.rmtree(path, ignore_errors=True)


def forget_versions():
    """What this process keeps of versions by their keys, which begin again in another database."""
    plan_of.cache_clear()
    agent_of.cache_clear()


def crash(service):
    """Kill -9; of PostgreSQL the postmaster, without which its other processes end at once."""
    kill_group(service.process)
    service.process.wait(timeout=10)
    connections.close_all()


def start_again(service):
    """As the supervisor does: PostgreSQL recovers what was committed, Valkey is empty."""
    service.start()
    wait_until_ready([service])


def test_kill_of_postgresql_and_of_valkey_between_steps_repeats_nothing(
    servers, committed, begin, save_agent, workers, simulator, members
):
    postgres, valkey = servers
    save_agent(name="writer", **WRITER)
    simulator.slow_once(1.0)
    crew = workers(2, DATABASE_URL=postgres.url, REDIS_URL=valkey.url, WORKER_LEASE_SECONDS="1.5")
    for worker in crew:
        worker.wait_for_lease()
    run = begin(
        """
  a: {agent: writer, with: {text: hello}}
  check: {needs: [a], approval: {title: t, show: "${{ steps.a.output.text }}"}}
  b: {agent: writer, needs: [check], with: {text: "${{ steps.check.output }}"}}
  c: {agent: writer, needs: [b], with: {text: more}}
"""
    )
    until(simulator.keys)

    crash(postgres)  # in the middle of the call of `a`, whose end has nowhere to go until after the workers' lease
    until(lambda: simulator.answered() == 1)
    until(lambda: all(worker.log.read_text().count("heartbeat_failed") > 6 for worker in crew))
    start_again(postgres)
    request = pending(run)
    assert assert_sound(run.pk).status == "waiting"

    crash(valkey)
    request.decide(by=members.approver, choice="continue", digest=request.digest)
    run = ended(run)
    assert run.status == "completed"
    assert simulator.keys() == {f"{run.public_id}:{name}:1": 1 for name in "abc"}


@pytest.fixture
def site(servers, committed, tmp_path):
    """The site's own process on these servers."""
    postgres, valkey = servers
    web = Web(tmp_path / "web.log", DATABASE_URL=postgres.url, REDIS_URL=valkey.url)
    yield web
    web.stop()


@pytest.fixture
def reads(servers, kpi):
    """How often the figures' operation reached the database, by its server's own log, which outlives it."""
    postgres, _ = servers
    rows("alter role countersign_reader set log_statement = 'all'")
    return lambda: postgres.log.read_text().count('DECLARE "operation"')


def post(site, member, address, body):
    _, token = ApiToken.issue(member=member, name="t", scopes=[], expires_at=None, by=None)
    with site.client(headers={"Authorization": f"Bearer {token}"}) as client:
        return client.post(address, json=body).raise_for_status().json()


@contextlib.contextmanager
def frozen(crew):
    for worker in crew:
        worker.send(signal.SIGSTOP)
    yield
    for worker in crew:
        worker.send(signal.SIGCONT)


TOLD = [
    ("run.started", None),
    ("step.started", "figures"),
    ("step.completed", "figures"),
    ("step.started", "check"),
    ("checkpoint.requested", "check"),
    ("checkpoint.resolved", "check"),
    ("step.completed", "check"),
    ("step.started", "summary"),
    ("step.completed", "summary"),
    ("deliverable.created", "summary"),
    ("run.completed", None),
]


@pytest.mark.parametrize("killed", ["postgres", "valkey"])
def test_kpi_tracking_survives_the_kill_of_a_server_between_its_steps(
    servers, kpi, reads, month, site, workers, simulator, members, killed
):
    postgres, valkey = servers
    (service,) = [service for service in servers if service.name == killed]
    # Nobody is to be taken for dead while a server is away.
    crew = workers(2, DATABASE_URL=postgres.url, REDIS_URL=valkey.url, WORKER_LEASE_SECONDS="60")
    for worker in crew:
        worker.wait_for_lease()
    site.wait_until_ready()

    def kill():
        crash(service)
        start_again(service)
        until(site.answers)

    def decide(request):
        words = {"choice": "continue", "digest": request.digest, "edits": {"/rows/0/amount": 12}}
        post(site, members.approver, f"/api/v1/approvals/{request.public_id}/decision/", words)

    def before_the_decision(run):
        request = pending(run)
        kill()
        decide(request)

    def after_the_decision(run):
        request = pending(run)
        with frozen(crew):  # so that nobody has taken it up when the server dies
            decide(request)
            kill()
            assert Request.objects.unacknowledged().filter(pk=request.pk).exists()

    def during_the_call_of_the_summary(run):
        simulator.slow_once(0.5)
        decide(pending(run))
        until(lambda: summaries(run) == 1)
        kill()

    def summaries(run):
        return simulator.keys().get(f"{run.public_id}:summary:1", 0)

    points = [before_the_decision, after_the_decision, during_the_call_of_the_summary]
    for number, point in enumerate(points, 1):
        started = post(
            site, members.operator, "/api/v1/runs/", {"definition": "kpi-tracking", "input": {"month": month}}
        )
        run = Run.objects.get(public_id=started["id"])
        point(run)
        run = ended(run)
        told = Event.objects.filter(run_id=run.pk).order_by("seq").values_list("type", "data__step")
        assert (run.status, list(told)) == ("completed", TOLD), point
        assert (reads(), summaries(run), len(simulator.keys())) == (number, 1, number), point
        assert Deliverable.objects.get(run_id=run.pk).content == run.output["report"], point
        assert "12" in run.output["report"], point
        request = Request.objects.get(context__run=run.public_id)
        decisions = list(request.decisions.values_list("member", "late"))
        assert (request.status, decisions) == ("decided", [(members.approver.pk, False)]), point


# --- the tables


def test_the_migrations_go_back_and_forth_with_rows_in_the_tables(servers, committed, begin):
    def leaves():
        return [node for node in MigrationExecutor(connection).loader.graph.leaf_nodes() if node[0] == "orchestration"]

    def migrate_and_run():
        run = begin("  a: {agent: echo, with: {value: 1}}\n  b: {agent: echo, needs: [a]}\n")
        worker = make_worker()
        for _ in range(2):
            (step,) = claim(worker)
            end(worker, step, output={"value": 1})
        assert assert_sound(run.pk).status == "completed"

    migrate_and_run()
    (leaf,) = leaves()
    for target in ("0001", "zero"):
        call_command("migrate", "orchestration", target, verbosity=0)
        call_command("migrate", "orchestration", leaf[1], verbosity=0)
        forget_versions()
        migrate_and_run()
