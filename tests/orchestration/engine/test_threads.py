"""Threads that others rely on."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import transaction

from orchestration.engine.connection import rows
from orchestration.engine.hints import Hints, hints, work_key
from orchestration.engine.lease import Lease
from orchestration.engine.patient import PatientRecorder
from orchestration.engine.recorder import Recorder
from orchestration.engine.vital import Vital
from orchestration.models import Run, Step
from tests.harness import ROOT, until

BROKEN = """
import threading
import django
django.setup()
from orchestration.engine.vital import Vital

class Broken(Vital):
    def work(self):
        raise KeyError("x")

Broken("broken").start()
threading.Event().wait()
"""
# One that stands before a lock with a flush.
CLAIMS = """
select 1 from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock' and query like '%%engine\\_flush%%'
"""


def test_a_process_ends_with_any_thread_without_which_its_lease_must_not_go_on():
    assert all(issubclass(thread, Vital) for thread in (Lease, Recorder, PatientRecorder))
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    process = subprocess.run([sys.executable, "-c", BROKEN], cwd=ROOT, env=environment, timeout=60, check=False)
    assert process.returncode == os.EX_SOFTWARE


@pytest.fixture
def list_of_work():
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        key = work_key("test-threads")
        client.delete(key)
        yield lambda: client.llen(key)
        client.delete(key)


def test_no_word_is_left_unsaid_because_the_thread_was_woken_before_it_was_there(list_of_work):
    said = Hints()
    for number in range(50):
        with said._lock:  # one who speaks, and the thread, are both stopped at it
            speaker = threading.Thread(target=said.work, args=("test-threads",))
            speaker.start()
            speaker.join(0.005)
        speaker.join()
        said.drain(10)
        assert list_of_work() == number + 1


def test_an_answer_is_said_while_other_words_are_gathered(list_of_work, monkeypatch):
    monkeypatch.setattr("orchestration.engine.hints.PAUSE_SECONDS", 3_600)
    said = Hints()
    monkeypatch.setattr(said, "ANSWERS", "test-threads")
    said.work("test-threads")
    until(lambda: list_of_work() == 1)
    said.work("test-threads")  # waits for the end of the pause
    said.answer()
    until(lambda: list_of_work() == 2)


def test_work_is_said_while_changes_are_gathered(list_of_work, monkeypatch):
    monkeypatch.setattr("orchestration.engine.hints.CHANGES_PAUSE_SECONDS", 3_600)
    said = Hints()
    for number in range(3):
        said.changed([number])
        said.work("test-threads")
        until(lambda number=number: list_of_work() == number + 1)


def test_a_process_takes_what_became_ready_by_itself_as_far_as_its_hands_go(engine):
    assert hints.takes("tool", 1)
    assert not hints.takes("tool", settings.WORKER_THREADS + 1)
    assert not hints.takes("elsewhere", 1)
    engine.stop()
    assert not hints.takes("tool", 1)


def test_what_a_process_was_about_to_claim_when_it_was_told_to_go_ends_there(engine, begin, hold):
    run = begin("  a: {agent: hold}\n")
    with transaction.atomic():
        rows("select from orchestration_worker where id = %s for update", [engine.process.worker_id])
        engine.look()
        until(lambda: rows(CLAIMS))
        leaving = threading.Thread(target=engine.stop)
        leaving.start()
        until(engine.process.draining.is_set)
    until(lambda: hold.calls)
    hold.go.set()
    leaving.join()
    assert Run.objects.get(pk=run.pk).events.filter(type="step.started").count() == 1
    assert Step.objects.get(run_id=run.pk, name="a").status == "completed"


def test_each_worker_keeps_to_the_processor_that_its_number_means(workers, begin, finished):
    ours = sorted(os.sched_getaffinity(0))
    started = [*workers(WORKER_CPU="0"), *workers(WORKER_CPU=str(2 * len(ours) - 1)), *workers()]
    for worker in started:
        worker.wait_for_lease()
    finished(begin("  a: {agent: echo}\n"))
    assert [cpus_of(worker) for worker in started] == [{(ours[0],)}, {(ours[-1],)}, {tuple(ours)}]


def cpus_of(worker):
    """What its threads keep to."""
    threads = [int(thread.name) for thread in Path(f"/proc/{worker.process.pid}/task").iterdir()]
    return {tuple(sorted(os.sched_getaffinity(thread))) for thread in threads}
