"""`bin/up` as a newcomer meets it: real processes on a data directory of their own."""

import json
import os
import re
import signal
import socket
import time
import urllib.request

import pytest

from config.up.processes import command_of
from tests.harness import until


def test_it_starts_answers_and_stops_cleanly(up, data):
    before = time.time() - 1000  # when packages began to be installed
    first = up(COUNTERSIGN_BEGAN=str(before)).wait_until_ready()
    assert re.search(r"Ready after 1[0-9]{3}\.[0-9] s", first.said[-1])
    with urllib.request.urlopen(f"http://127.0.0.1:{first.port}/readyz", timeout=10) as answer:
        assert answer.status == 200
    people = json.loads((data / "demo-people.json").read_text())
    assert {"admin", "approver", "builder", "operator", "viewer"} <= set(people)
    assert all(password in "".join(first.said) for password in people.values())
    for name in ("keys.env", "countersign.env", "demo-people.json"):
        assert (data / name).stat().st_mode & 0o077 == 0
    pids = first.pids()
    assert len(pids) == 7  # postgres, valkey, simulators, web, two workers, beat
    workers = [pid for pid, command in pids.items() if "worker" in command]
    # Each worker has a processor of its own, where there are several.
    until(lambda: [len(os.sched_getaffinity(pid)) for pid in workers] == [1, 1], 30)
    kept = set.union(*(os.sched_getaffinity(pid) for pid in workers))
    assert len(kept) == min(2, len(os.sched_getaffinity(0)))

    second = up()
    code, said = second.end()
    assert code == 1
    assert f"already runs on {data}" in said

    code, said = first.end(signal.SIGINT)
    assert (code, said.splitlines()[-1]) == (0, "Stopped.")
    assert "killed" not in said
    assert [command_of(pid) for pid in pids] == [None] * 7
    assert not (data / "countersign.env").exists()


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
