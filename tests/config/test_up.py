"""`bin/up` as a newcomer meets it: real processes on a data directory of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from config.up.processes import command_of
from tests.config.test_services import gone

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = (
    "DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "BASE_URL",
    "COUNTERSIGN_DATA",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Up:
    def __init__(self, data: Path, *options: str, port: int | None = None) -> None:
        self.data, self.port, self.said = data, port or free_port(), []
        environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "config.up", "--data", str(data), "--port", str(self.port), *options],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.impatience = threading.Timer(120, self.process.kill)
        self.impatience.start()

    def wait_until_ready(self) -> "Up":
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("Ready after"):
                return self
        raise AssertionError("".join(self.said))

    def end(self, sign: signal.Signals | None = None) -> tuple[int, str]:
        if sign:
            self.process.send_signal(sign)
        self.said.append(self.process.stdout.read())
        self.impatience.cancel()
        return self.process.wait(), "".join(self.said)

    def pids(self) -> dict[int, str]:
        return {int(pid): command for pid, command in json.loads((self.data / "pids.json").read_text()).items()}


@pytest.fixture
def up(data):
    started = []

    def start(*options, **named) -> Up:
        started.append(Up(data, *options, **named))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)
        one.process.stdout.close()


def test_it_starts_answers_and_stops_cleanly(up, data):
    first = up().wait_until_ready()
    with urllib.request.urlopen(f"http://127.0.0.1:{first.port}/readyz", timeout=10) as answer:
        assert answer.status == 200
    people = json.loads((data / "demo-people.json").read_text())
    assert {"admin", "approver", "builder", "operator", "viewer"} <= set(people)
    assert all(password in "".join(first.said) for password in people.values())
    for name in ("keys.env", "countersign.env", "demo-people.json"):
        assert (data / name).stat().st_mode & 0o077 == 0
    pids = first.pids()
    assert len(pids) == 7  # postgres, valkey, simulators, web, two workers, beat

    second = up()
    code, said = second.end()
    assert code == 1
    assert f"already runs on {data}" in said

    code, said = first.end(signal.SIGINT)
    assert (code, said.splitlines()[-1]) == (0, "Stopped.")
    assert "killed" not in said
    assert [command_of(pid) for pid in pids] == [None] * 7
    assert not (data / "countersign.env").exists()


def test_kill_9_leaves_nothing_that_the_next_start_trips_over(up, data):
    first = up("--no-demo").wait_until_ready()
    pids = first.pids()
    first.end(signal.SIGKILL)
    up("--no-demo").wait_until_ready()
    assert [gone(pid) for pid in pids] == [True] * len(pids)


def test_a_part_that_dies_is_started_again(up):
    one = up("--no-demo").wait_until_ready()
    web = next(pid for pid, command in one.pids().items() if "uvicorn" in command)
    os.kill(web, signal.SIGKILL)
    for line in one.process.stdout:
        if "web ended (SIGKILL)" in line:
            break
    assert gone(web)
    while web in one.pids() or not any("uvicorn" in (command or "") for command in one.pids().values()):
        os.sched_yield()


def test_an_occupied_port_is_refused_before_anything_starts(up, data):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, said = up(port=other.getsockname()[1]).end()
    assert code == 1
    assert "is used by another program" in said
    assert "bin/up --port" in said
    assert not (data / "postgres").exists()


def test_data_of_another_version_is_refused_with_what_to_do(up, data):
    (data / "postgres").mkdir()
    (data / "postgres" / "PG_VERSION").write_text("12\n")
    code, said = up().end()
    assert code == 1
    assert "was made by PostgreSQL 12" in said
    assert "bin/up --reset" in said
    assert (data / "postgres" / "PG_VERSION").read_text() == "12\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_it_may_not_write_is_refused_with_what_to_do(up, data):
    data.chmod(0o500)
    code, said = up().end()
    data.chmod(0o700)
    assert code == 1
    assert "Cannot write" in said
    assert "--data" in said
