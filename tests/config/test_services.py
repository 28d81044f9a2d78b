"""PostgreSQL and Valkey as `bin/up` and `bin/test` start them, with real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from config.up import services
from config.up.processes import Account, Refused, command_of
from config.up.services import private_folder, services_of, wait_until_ready

ROOT = Path(__file__).resolve().parents[2]
FAST = {"fsync": "off"}
LAUNCHER = """
import pathlib, signal, sys
from config.up.services import services_of, wait_until_ready
data = pathlib.Path(sys.argv[1])
both = services_of(data, data / "log", {"fsync": "off"})
for service in both:
    service.start()
wait_until_ready(both)
print(*(service.process.pid for service in both), flush=True)
signal.pause()
"""


def gone(pid: int, *, within_seconds: float = 20) -> bool:
    deadline = time.monotonic() + within_seconds
    while command_of(pid) is not None:
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


@pytest.fixture
def both(data):
    services = services_of(data, data / "log", FAST)
    yield services
    for service in services:
        service.stop()


def start(services) -> None:
    for service in services:
        service.start()
    wait_until_ready(services)


def test_the_services_start_answer_and_stop(both):
    postgres, valkey = both
    start(both)
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("select current_database(), current_user").fetchone() == ("countersign",) * 2
    assert postgres.sockets.stat().st_mode & 0o077 == 0
    assert postgres.cluster.stat().st_mode & 0o077 == 0
    assert postgres.stop()
    assert valkey.stop()
    assert "database system is shut down" in postgres.log.read_text()


def test_rows_are_there_at_the_next_start(both):
    postgres, _ = both
    start(both)
    with psycopg.connect(postgres.url) as connection:
        connection.execute("create table kept (value int)")
    postgres.stop()
    postgres.start()
    wait_until_ready([postgres])
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends what is left")
def test_kill_9_of_the_launcher_leaves_no_service(data, both):
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(data)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with launcher:
        pids = [int(pid) for pid in launcher.stdout.readline().split()]
        assert [command_of(pid) is not None for pid in pids] == [True, True]
        launcher.kill()
    start(both)  # at once: it waits for the old server to be gone
    assert [gone(pid) for pid in pids] == [True, True]


def test_a_server_killed_with_kill_9_recovers(both):
    postgres, _ = both
    start(both)
    postgres.process.send_signal(signal.SIGKILL)
    postgres.process.wait()
    postgres.start()
    wait_until_ready([postgres])
    assert postgres.is_ready()


def test_a_recovery_is_waited_for_however_long_it_takes(both, monkeypatch):
    monkeypatch.setattr(services, "ASK_SECONDS", 0.2)
    postgres, _ = both
    start(both)
    postgres.stop()
    (postgres.cluster / "recovery.signal").touch()
    postgres.options = {**FAST, "restore_command": "sleep 2; false"}  # asked for several files
    postgres.start()
    process, began = postgres.process, time.monotonic()
    wait_until_ready([postgres], patience_seconds=3)
    assert (postgres.process, time.monotonic() - began > 4) == (process, True)


def test_a_pid_file_that_names_a_stranger_is_cleaned(both):
    postgres, _ = both
    start(both)
    postgres.process.send_signal(signal.SIGKILL)
    postgres.process.wait()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        file = postgres.cluster / "postmaster.pid"
        lines = file.read_text().split("\n")
        file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        postgres.start()
        wait_until_ready([postgres])
        assert stranger.poll() is None
        stranger.kill()


def test_data_of_another_version_is_named_and_left_alone(both):
    postgres, _ = both
    start(both)
    postgres.stop()
    (postgres.cluster / "PG_VERSION").write_text("12\n")
    with pytest.raises(Refused, match=r"made by PostgreSQL 12; this Countersign runs PostgreSQL \d+") as refusal:
        postgres.start()
    assert "bin/up --reset" in str(refusal.value)
    assert (postgres.cluster / "base").is_dir()


def test_a_folder_somebody_put_there_is_not_taken(tmp_path):
    (tmp_path / "sockets").mkdir(mode=0o777)
    (tmp_path / "sockets").chmod(0o777)
    with pytest.raises(Refused, match="Remove it"):
        private_folder(tmp_path / "sockets", Account.choose())
