"""What workers stand on goes away under them: the database at each commit, its sessions, its disk, Valkey, a clock."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from django.db import DatabaseError, connections

from config.chaos.disk import Disk, NoDisk
from config.up import services
from config.up.supervisor import Watch
from orchestration.engine.connection import rows
from orchestration.models import Run, Step
from tests.harness import assert_all_sound, until
from tests.orchestration.crashes.looks import crash, running, start_again

COMMITS = [
    *[("flush", 3), ("payloads", 1), ("preparing", 1), ("prepared", 2), ("flushed", 1), ("recorded", 4)],
    *[("answer", 2), ("round", 1), ("told", 1), ("lease", 2)],
]


def test_a_crash_of_postgresql_at_each_commit_repeats_no_finished_step(servers, crew, order, at_rest):
    postgres, valkey = servers
    for point, nth in COMMITS:
        run = order.begin()
        worker = crew.worker(at=point, nth=nth, what="hold")
        until(lambda worker=worker, run=run: worker.reached or order.drive(run))
        assert worker.reached, point
        before = order.done(run)
        crash(postgres)
        if point == "told":
            crash(valkey)
            start_again(valkey)
        start_again(postgres)
        worker.go_on()
        order.check(run, before)
        at_rest(worker)


@pytest.mark.parametrize("point", ["prepared", "recorded", "answer"])
def test_all_sessions_ended_at_once_repeat_no_finished_step(nursery, order, at_rest, point):
    run = order.begin()
    worker = nursery.worker(at=point, what="hold")
    until(lambda: worker.reached or order.drive(run))
    before = order.done(run)
    rows(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    worker.go_on()
    order.check(run, before)
    at_rest(worker)


def test_a_valkey_that_hangs_stops_nothing(servers, crew, order, at_rest):
    _, valkey = servers
    worker = crew.worker()
    os.killpg(valkey.process.pid, signal.SIGSTOP)
    try:
        order.check(order.begin())
        at_rest(worker)
    finally:
        os.killpg(valkey.process.pid, signal.SIGCONT)


def test_a_worker_whose_clock_is_an_hour_off_does_nothing_else_than_others(nursery, order, at_rest):
    crew = [nursery.worker(given={"clock": clock}, WORKER_THREADS=1) for clock in (3600, 0, -3600)]
    order.check(order.begin())
    ((oldest,),) = rows("select max(abs(extract(epoch from clock_timestamp() - at))) < 600 from orchestration_event")
    assert oldest
    at_rest(*crew)


def disk_at(path, megabytes):
    try:
        return Disk(path, megabytes)
    except NoDisk:
        pytest.skip("NOT TESTED: a full disk. It needs the right to mount one.")


@pytest.fixture
def small_disk(servers, committed):
    """The newest events lie on a disk of 1 MB."""
    postgres, _ = servers
    disk = disk_at(postgres.cluster.parent / "small", 1)
    rows(f"create tablespace small location '{disk.path}'")
    rows("alter table orchestration_event_0 set tablespace small")
    yield disk
    rows("alter table orchestration_event_0 set tablespace pg_default")
    rows("drop tablespace small")
    disk.unmount()


def test_a_full_disk_fails_no_step_and_what_waits_goes_on_when_there_is_room(small_disk, crew, begin, at_rest):
    steps = "".join(f"  s{n}: {{agent: echo, needs: [s{n - 1}]}}\n" for n in range(1, 9))
    runs = [begin("  s0: {agent: echo}\n" + steps) for _ in range(20)]
    small_disk.fill()
    worker = crew.worker()
    until(lambda: "No space left on device" in worker.words())
    assert not Step.objects.filter(status="failed").exists()
    small_disk.make_room()
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    assert {run.status for run in assert_all_sound([run.pk for run in runs])} == {"completed"}
    at_rest(worker)


@pytest.fixture
def cluster_disk(servers):
    """All of PostgreSQL's files lie on one disk."""
    postgres, _ = servers
    postgres.stop()
    disk = disk_at(postgres.cluster.parent / "disk", 256)
    subprocess.run(["cp", "-a", f"{postgres.cluster}/.", disk.path], check=True)
    disk.path.chmod(0o700)
    postgres.cluster = disk.path
    postgres.options = {}  # with fsync: what recovers syncs all files first, and can be caught at it
    connections.close_all()
    start_again(postgres)
    yield disk
    disk.unmount()


def fill_the_log(disk):
    """PostgreSQL panics when it can write no more of it."""
    disk.fill()
    with contextlib.suppress(DatabaseError):
        while True:
            rows("select pg_switch_wal(), pg_logical_emit_message(true, 'test', 'x')")


def test_a_full_disk_of_the_log_stops_postgresql_and_no_run(cluster_disk, servers, committed, crew, order, at_rest):
    postgres, _ = servers
    run = order.begin("slow", 1.0)
    worker = crew.worker()
    running(run, "a")
    fill_the_log(cluster_disk)
    until(lambda: "PANIC" in postgres.log.read_text())
    until(lambda: "connection_lost" in worker.words())
    cluster_disk.make_room()
    connections.close_all()
    supervisor = Watch(postgres)  # it has tried to recover on the full disk
    until(lambda: supervisor.look(print) or postgres.is_ready(), 60)
    order.check(run, {})
    at_rest(worker)


def freeze_while_it_recovers(postmaster):
    """What does so fails before the postmaster hears that it had begun."""
    end = time.monotonic() + 5
    while not (child := startup_of(postmaster)) and postmaster.poll() is None and time.monotonic() < end:
        pass  # it takes some milliseconds
    if child:
        postmaster.send_signal(signal.SIGSTOP)
        until(lambda: ") Z " in (words_of(f"/proc/{child}/stat") or ") Z "))
        postmaster.send_signal(signal.SIGCONT)


def startup_of(postmaster):
    """The process that recovers, as it is called in /proc."""
    children = words_of(f"/proc/{postmaster.pid}/task/{postmaster.pid}/children").split()
    return next((pid for pid in children if words_of(f"/proc/{pid}/cmdline").startswith("postgres: startup")), None)


def words_of(path):
    """Empty when there is no such process any more."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(path).read_text(errors="replace")
    return ""


def test_a_postgresql_that_waits_for_its_recovery_in_vain_is_started_again(cluster_disk, servers, monkeypatch):
    postgres, _ = servers
    monkeypatch.setattr(services, "ASK_SECONDS", 1)
    said = []
    supervisor = Watch(postgres)
    for _ in range(5):
        rows("select pg_current_wal_lsn()")
        fill_the_log(cluster_disk)
        freeze_while_it_recovers(postgres.process)
        cluster_disk.make_room()
        connections.close_all()
        until(lambda: supervisor.look(said.append) or postgres.is_ready())
        if any("did not get on with its recovery" in words for words in said):
            return
    raise AssertionError(said)
