"""A whole site, as `bin/up` runs it: web, beat and `bin/up` itself are killed while runs are under way."""

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from django.conf import settings
from django.db import connections

from accounts.models import ApiToken
from config.up.processes import command_of
from config.up.services import wait_until_ready
from orchestration.doctor import examine
from orchestration.models import Run
from tests.harness import until
from tests.orchestration.crashes.looks import pending

STARTS = 40


@pytest.fixture
def launch(servers, up, simulators_process):
    """`bin/up` on the servers' data, with processes of its own."""
    given = {"OPENAI_BASE_URL": f"{simulators_process}/v1", "OPENAI_API_KEY": "any", "SECRET_KEY": settings.SECRET_KEY}

    def launch():
        connections.close_all()
        for service in servers:
            service.stop()
        return up("--no-demo", **given).wait_until_ready()

    return launch


def kill(site, part):
    """It is started again."""
    pid = site.pid_of(part)
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in site.pids())


def start_through(site, token, number):
    """As a client does that wants one run: it asks under the same key until it is answered."""

    def ask():
        with contextlib.suppress(httpx2.TransportError):
            answer = httpx2.post(
                f"http://127.0.0.1:{site.port}/api/v1/runs/",
                json={"definition": "part"},
                headers={"Authorization": f"Bearer {token}", "Idempotency-Key": f"start-{number}"},
                timeout=10,
            )
            return answer.raise_for_status().json()["id"]
        return None

    return until(ask, 60)


def test_kills_of_web_of_beat_and_of_bin_up_lose_and_repeat_nothing(
    launch, servers, committed, order, members, simulator
):
    postgres, _ = servers
    site = launch()
    _, token = ApiToken.issue(member=members.operator, name="t", scopes=[], expires_at=None, by=None)
    kill(site, " beat ")
    with ThreadPoolExecutor(4) as clients:
        asked = [clients.submit(start_through, site, token, number) for number in range(STARTS)]
        until(lambda: sum(one.done() for one in asked) >= STARTS // 4)
        kill(site, "uvicorn")
    started = {one.result() for one in asked}
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    assert (len(started), Run.objects.filter(status="completed").count()) == (STARTS, STARTS)
    assert simulator.keys() == {f"{run}:w:1": 1 for run in started}

    run = order.begin()
    request = pending(run)
    before = order.done(run)
    simulator.slow_once(30)
    request.decide(by=members.approver, choice="retry", digest=request.digest, note="n")
    until(lambda: simulator.keys().get(f"{run.public_id}:f1:2"))
    pids = site.pids()
    site.end(signal.SIGKILL)
    site = launch()
    assert [pid for pid, command in pids.items() if command_of(pid) == command] == []
    order.check(run, before)

    assert site.end(signal.SIGINT)[0] == 0
    connections.close_all()
    postgres.start()
    wait_until_ready([postgres])
    assert examine(settled=True) == []
