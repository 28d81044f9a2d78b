"""PostgreSQL and Valkey are killed between and within steps, and come back; the site goes on while Valkey hangs."""

import contextlib
import os
import signal

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from accounts.models import ApiToken
from approvals.models import Request
from orchestration.engine.connection import rows
from orchestration.models import Deliverable, Event, Run
from tests.harness import Web, assert_sound, until
from tests.orchestration.crashes.looks import WRITER, crash, ended, pending, start_again


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
        assert Deliverable.objects.get(run_id=run.pk).content == f"# KPI report {month}\n\n{run.output['report']}", (
            point
        )
        assert "12" in run.output["report"], point
        request = Request.objects.get(context__run=run.public_id)
        decisions = list(request.decisions.values_list("member", "late"))
        assert (request.status, decisions) == ("decided", [(members.approver.pk, False)]), point


def test_people_and_machines_work_on_while_valkey_hangs(servers, crew, site, save, members, at_rest):
    _, valkey = servers
    save("name: asks\nsteps:\n  check: {approval: {title: t}}\n  b: {agent: echo, needs: [check]}\n")
    worker = crew.worker()
    site.wait_until_ready()
    os.killpg(valkey.process.pid, signal.SIGSTOP)
    try:
        with site.client() as browser:
            sign_in(browser, members.approver)
            run = Run.objects.get(public_id=post(site, members.operator, "/api/v1/runs/", {"definition": "asks"})["id"])
            request = pending(run)
            question = f"/approvals/{request.public_id}/"
            for page in (
                "/",
                "/runs/",
                f"/runs/{run.public_id}/",
                f"/runs/{run.public_id}/log/",
                "/approvals/",
                question,
            ):
                assert browser.get(page).status_code == 200, page
            answer = {**csrf(browser), "choice": "continue", "digest": request.digest}
            assert browser.post(question, data=answer).status_code == 302
            assert ended(run).status == "completed"
            events = browser.get(f"/api/v1/runs/{run.public_id}/events", headers={"Accept": "text/event-stream"})
            assert "event: run.completed" in events.text
            assert browser.get("/readyz").json()["valkey"] != "ok"
        at_rest(worker)
    finally:
        os.killpg(valkey.process.pid, signal.SIGCONT)


def sign_in(browser, member):
    member.user.password = PBKDF2PasswordHasher().encode("open sesame", "salt", 1)
    member.user.save()
    browser.get("/accounts/login/").raise_for_status()
    words = {**csrf(browser), "login": member.user.username, "password": "open sesame"}
    assert browser.post("/accounts/login/", data=words).headers["Location"] == "/"


def csrf(browser):
    return {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
