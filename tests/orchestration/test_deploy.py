"""One release after the other: all workers restarted in turn under load, and two releases on one database."""

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from bisect import bisect_left, bisect_right
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, transaction

from accounts.public_ids import new_public_id
from approvals.models import Request
from orchestration.engine import mail
from orchestration.engine.connection import rows, use_own_connection, value
from orchestration.engine.hints import hints
from orchestration.engine.starts import start_version
from orchestration.models import Run, Step, Worker
from tests.harness import ROOT, WorkerProcess, assert_sound, database_url, make_worker, until

HERE = Path(__file__).resolve().parent
RELEASED = "673bd41a32de36c8ff09b7782a76072f3732e2ab"  # the commit that released.json was made from
PATIENT = {"WORKER_LEASE_SECONDS": "600", "WORKER_HEARTBEAT_SECONDS": "1", "WORKER_SWEEP_SECONDS": "1"}
APPS = ("accounts", "agents", "approvals", "orchestration")
UNKNOWN_LEVEL = 99
IN_FLIGHT = 6
STEP_SECONDS = 0.05
# What a machine that has nothing else to do makes of the load in a second, while one run of it stands still.
STEPS_A_SECOND = (IN_FLIGHT - 1) / STEP_SECONDS
CHAIN = "".join(
    f"  s{n}: {{agent: echo, {f'needs: [s{n - 1}], ' if n else ''}with: {{value: {n}, seconds: {STEP_SECONDS}}}}}\n"
    for n in range(10)
)
# As the previous release's web does.
STARTED_BEFORE = "select runs[1] from engine_start_v3(%s, %s, array[%s], array['{}'::jsonb], %s)"
MADE = """
select proname::text, pg_get_functiondef(oid) from pg_proc where starts_with(proname, 'engine') union all
select indexname::text, indexdef from pg_indexes where starts_with(tablename, 'orchestration') and tablename !~ '[0-9]'
order by 1, 2
"""
EVENTS = """
select run_id, at, type = 'step.completed' from orchestration_event where run_id = any(%s) order by run_id, seq
"""


@pytest.fixture
def load(committed, save, organization, members):
    """`begun` runs of ten steps each are kept in flight, until `stop`; which gives all of them."""
    version = save(f"name: chain\nsteps:\n{CHAIN}")
    over = threading.Event()
    runs = []

    def begin():
        return start_version(version.pk, organization.pk, {}, by=members.operator.pk)

    def begin_as_before():
        run = value(STARTED_BEFORE, [version.pk, organization.pk, new_public_id("run"), members.operator.pk])
        hints.work("tool")
        return run

    def keep(begin):
        use_own_connection()
        while not over.wait(0.05):
            while len(runs) - Run.objects.filter(pk__in=runs, ended_at__isnull=False).count() < IN_FLIGHT:
                runs.append(begin())
        connection.close()

    threads = []

    class Load:
        begun = runs

        @staticmethod
        def start(*, as_before=False):
            threads.append(threading.Thread(target=keep, args=(begin_as_before if as_before else begin,)))
            threads[0].start()

        @staticmethod
        def stop():
            over.set()
            threads[0].join(30)
            assert not threads[0].is_alive()
            until(lambda: not Run.objects.filter(pk__in=runs, ended_at=None).exists(), 60)
            return [assert_sound(run) for run in runs]

    yield Load
    over.set()


def goes_on(load):
    """Until as many runs have ended as there are now, and one more."""
    seen = len(load.begun)
    until(lambda: Run.objects.filter(ended_at__isnull=False).count() > seen, 60)


def no_worker_was_lost():
    """Each gave its lease up before it ended, and no step was taken from one that had not."""
    assert not rows("select 1 from orchestration_worker where dead_at > lease_until")
    assert not rows("select 1 from orchestration_step where lost > 0")


def most_overtaken(runs):
    """How many steps ended between two events of a run, at the most: how long it stood still, by a clock that goes as
    slowly as the machine."""
    told = rows(EVENTS, [runs])
    ends = sorted(at for _, at, is_end in told if is_end)
    pairs = [(one[1], other[1]) for one, other in pairwise(told) if one[0] == other[0]]
    return max(bisect_left(ends, after) - bisect_right(ends, before) for before, after in pairs)


def test_a_rolling_restart_under_load_loses_nothing_and_stalls_no_run(load, workers):
    old = [worker.wait_for_lease() for worker in workers(2, **PATIENT)]
    load.start()
    goes_on(load)
    for leaving in old:
        assert leaving.terminate(30) == 0
        goes_on(load)
        (new,) = workers(1, **PATIENT)
        new.wait_for_lease(60)
        goes_on(load)
    assert {run.status for run in load.stop()} == {"completed"}
    no_worker_was_lost()
    assert Worker.objects.filter(dead_at=None).count() == 2
    # Each call was made once: what was under way when its worker was told to go has ended there.
    assert rows(
        "select count(*), count(distinct (run_id, key)) from orchestration_event where type = 'step.started'"
    ) == [(10 * len(load.begun),) * 2]
    overtaken = most_overtaken(load.begun)
    print(f"{len(load.begun)} runs; while one of them stood still, {overtaken} steps ended")  # noqa: T201
    assert overtaken < STEPS_A_SECOND


# --- two releases on one database


def test_the_previous_release_finds_the_functions_and_columns_that_it_knows(committed):
    released = json.loads((HERE / "released.json").read_text())
    with connection.cursor() as cursor:
        cursor.execute((HERE / "surface.sql").read_text())
        present = json.loads(cursor.fetchone()[0])
    gone = {name: at for name, at in released["functions"].items() if present["functions"].get(name) != at}
    assert not gone
    for table, columns in released["columns"].items():
        now = present["columns"].get(table, {})
        changed = {
            name: kind
            for name, kind in columns.items()
            if now.get(name, "").removesuffix(" required") != kind.removesuffix(" required")
        }
        assert not changed, table
        # What the previous release does not know it does not write.
        assert not [name for name, kind in now.items() if kind.endswith(" required") and columns.get(name) != kind], (
            table
        )


def test_the_sweep_answers_the_previous_release_as_it_did(committed):
    found = json.loads(value("select engine_sweep_v2(%s, 0, 3, '{}')", [make_worker()]))
    known = {"swept", "failed", "more", "wake", "deadline", "neighbors", "ready", "answers", "untold", "untidy"}
    assert set(found) >= known


@pytest.fixture
def released(tmp_path):
    """A checkout of the previous release."""
    if named := os.environ.get("COUNTERSIGN_PREVIOUS"):
        return Path(named).resolve()
    found = subprocess.run(["git", "archive", RELEASED], cwd=HERE.parents[1], capture_output=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"NOT TESTED: the drill with the previous release. Its commit {RELEASED} is not in this checkout.")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(tmp_path / "released", filter="data")
    return tmp_path / "released"


def there(released):
    """The newest migration of each app in that release."""
    for app in APPS:
        yield app, sorted(path.stem for path in (released / app / "migrations").glob("0*.py"))[-1]


def test_a_database_of_the_previous_release_becomes_what_a_new_one_is_and_what_it_was(committed, released):
    name = f"{connection.settings_dict['NAME']}_upgraded"
    url = urlunsplit(urlsplit(database_url())._replace(path=f"/{name}"))
    given = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": url}

    def migrated(root, *target):
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0", *target], cwd=root, env=given, check=True)
        with psycopg.connect(url) as database:
            return database.execute(MADE).fetchall()

    rows(f"create database {name}")
    try:
        before = migrated(released)
        assert migrated(ROOT) == rows(MADE)
        assert [migrated(ROOT, *target) for target in there(released)][-1] == before
    finally:
        rows(f"drop database {name} with (force)")


def test_the_previous_releases_worker_leaves_a_run_alone_that_it_would_misread(
    begin, save, organization, committed, released, tmp_path
):
    """One of a level that it does not know, as a later release may lay; what it knows it does."""
    save("name: asks\nsteps: {a: {approval: {title: t}}}")
    old = WorkerProcess(tmp_path / "previous.log", PATIENT, root=released)
    try:
        old.wait_for_lease(60)
        with transaction.atomic():
            run = begin("  w: {wait: {any: [{run: asks}, {event: paid}]}}\n")
            Run.objects.filter(pk=run.pk).update(level=UNKNOWN_LEVEL)
        plain = begin("  a: {agent: echo}\n")
        until(lambda: Run.objects.filter(pk=plain.pk, status="completed").exists(), 60)
        assert run.steps.get(name="w").status == "ready"
        Run.objects.filter(pk=run.pk).update(level=run.level)
        child = until(lambda: Run.objects.filter(parent_run_id=run.pk).first(), 60)
        until(lambda: Request.objects.pending().exists(), 60)
        mail.deliver(organization=organization, name="paid", key="", data=7, sender_id=None, by=None)
        until(lambda: not Run.objects.filter(ended_at=None).exists(), 60)
        assert [assert_sound(pk).status for pk in (run.pk, child.pk)] == ["completed", "canceled"]
        assert run.steps.get(name="w").output == 7
    finally:
        old.kill()


DECIDE = """
from accounts.models import Member
from approvals.models import Request
request = Request.objects.get(pk={request})
request.decide(by=Member.objects.get(pk={member}), choice="continue", digest=request.digest)
"""


def decide_there(root, request, member):
    """As that release's web does: this one's knows the newest tables alone."""
    given = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": database_url()}
    script = DECIDE.format(request=request.pk, member=member.pk)
    subprocess.run([sys.executable, "manage.py", "shell", "-c", script], cwd=root, env=given, check=True)


def test_the_previous_releases_worker_goes_on_beside_this_one_and_after_a_downgrade(
    load, begin, members, workers, released, tmp_path
):
    (new,) = workers(1, **PATIENT)
    old = WorkerProcess(tmp_path / "previous.log", PATIENT, root=released)
    try:
        new.wait_for_lease(60)
        old.wait_for_lease(60)
        gate = begin("  a: {agent: echo}\n  g: {needs: [a], approval: {title: t}}\n  b: {agent: echo, needs: [g]}\n")
        load.start(as_before=True)
        for worker in (old, new):
            until(lambda at=worker: Step.objects.filter(status="running", owner=at.id).exists(), 60)
        request = until(lambda: Request.objects.pending().first())
        assert new.terminate(30) == 0
        for target in there(released):
            call_command("migrate", *target, verbosity=0)
        load.begun.append(gate.pk)
        goes_on(load)
        decide_there(released, request, members.approver)
        call_command("migrate", verbosity=0)  # while it works
        assert {run.status for run in load.stop()} == {"completed"}
        no_worker_was_lost()
    finally:
        old.kill()
        call_command("migrate", verbosity=0)
