"""What workers stand on goes away under them: the database at each commit, its sessions, its disk, Valkey, a clock."""

import contextlib
import os
import signal
import subprocess

import pytest

from config.up.processes import Account
from orchestration.engine.connection import rows
from orchestration.models import Run, Step
from tests.harness import Nursery, assert_all_sound, until
from tests.orchestration.crashes.looks import crash, start_again

COMMITS = [
    *[("flush", 3), ("payloads", 1), ("preparing", 1), ("prepared", 3), ("flushed", 1), ("recorded", 4)],
    *[("answer", 2), ("round", 1), ("told", 1), ("lease", 2)],
]


@pytest.fixture
def crew(servers, committed, simulators_process):
    """A nursery on servers of its own."""
    postgres, valkey = servers
    nursery = Nursery(
        DATABASE_URL=postgres.url,
        REDIS_URL=valkey.url,
        OPENAI_BASE_URL=f"{simulators_process}/v1",
        OPENAI_API_KEY="any",
    )
    yield nursery
    nursery.close()


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


@pytest.fixture
def small_disk(servers, committed):
    """The newest events lie on a disk of 1 MB, which is full; gives what makes room again."""
    postgres, _ = servers
    disk = postgres.cluster.parent / "small"
    disk.mkdir(mode=0o700)
    account = Account.choose()
    owner = f"uid={account.uid},gid={account.gid},mode=0700"
    mount = ["mount", "-t", "tmpfs", "-o", f"size=1m,{owner}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("NOT TESTED: a full disk. It needs the right to mount one.")
    ballast = disk / "ballast"

    def fill():
        rows(f"create tablespace small location '{disk}'")
        rows("alter table orchestration_event_0 set tablespace small")
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    yield fill, ballast.unlink
    rows("alter table orchestration_event_0 set tablespace pg_default")
    rows("drop tablespace small")
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_fails_no_step_and_what_waits_goes_on_when_there_is_room(small_disk, crew, begin, at_rest):
    fill, make_room = small_disk
    steps = "".join(f"  s{n}: {{agent: echo, needs: [s{n - 1}]}}\n" for n in range(1, 9))
    runs = [begin("  s0: {agent: echo}\n" + steps) for _ in range(20)]
    fill()
    worker = crew.worker()
    until(lambda: "No space left on device" in worker.words())
    assert not Step.objects.filter(status="failed").exists()
    make_room()
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    assert {run.status for run in assert_all_sound([run.pk for run in runs])} == {"completed"}
    at_rest(worker)
