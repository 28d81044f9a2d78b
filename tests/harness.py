"""What tests of the engine are made with: an engine here, worker processes, and a look at all rows of a run."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
from django.conf import settings
from django.db import connection

from agents.calls import Result
from agents.exceptions import Canceled
from orchestration.doctor import examine
from orchestration.engine.connection import rows, use_own_connection, value
from orchestration.engine.facts import forget_facts
from orchestration.engine.plans import agent_of, plan_of
from orchestration.engine.process import Process
from orchestration.engine.recovery import FLUSH
from orchestration.models import Event, Run, Worker

ROOT = Path(__file__).resolve().parents[1]
POLL_SECONDS = 0.01
QUEUES = ["default", "context", "tool", "orchestrator"]


def until(condition, seconds=30.0):
    """Poll until `condition()` is true; gives what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(POLL_SECONDS)
    return found


def forget_versions():
    """What this process keeps of versions by their keys, which begin again in another database."""
    plan_of.cache_clear()
    agent_of.cache_clear()
    forget_facts()


class Hold:
    """A tool whose calls wait until `go` is set, then return `output` or raise the next of `errors`."""

    def __init__(self):
        self.go = threading.Event()
        self.calls = []  # the idempotency keys
        self.errors = []
        self.deaf = False  # to the wish to stop
        self.output = None

    def __call__(self, call):
        self.calls.append(call.idempotency_key)
        while not self.go.wait(POLL_SECONDS):
            if call.canceled() and not self.deaf:
                raise Canceled("asked to stop")
        if self.errors:
            raise self.errors.pop(0)
        return Result(self.output if self.output is not None else {"value": call.input.get("value")})


class EngineHere:
    def __init__(self):
        self.process = Process()

    def start(self):
        self._in_thread(self.process.start)

    def stop(self):
        if self.process.stopped.is_set():
            return
        self._in_thread(self.process.stop)
        for thread in (self.process.lease, self.process.recorder, self.process.sweeper, self.process.housekeeper):
            thread.join(30)
            assert not thread.is_alive(), f"{thread.name} did not stop"

    def look(self):
        """As a hint does."""
        self.process.sweeper.wake_within(0.0)
        self.process.recorder.look()

    @staticmethod
    def _in_thread(call):
        """Its connection is not the test's."""
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()


def database_url():
    """The database of the tests, as other processes are told it."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))


class WorkerProcess:
    """One Celery worker process in a session of its own, of the release whose checkout is `root`."""

    def __init__(self, log, environment, root=ROOT):
        self.log = log
        command = [
            sys.executable,
            "-m",
            "celery",
            "--app",
            "config",
            "worker",
            "--pool",
            "threads",
            "--concurrency",
            "2",
        ]
        command += ["--queues", ",".join(settings.WORKER_QUEUES), "--loglevel", "WARNING"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        given = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": database_url(),
            "WORKER_LEASE_SECONDS": "5",  # one that was killed is found by its process id
            "WORKER_HEARTBEAT_SECONDS": "0.3",
            **environment,
        }
        given.pop("PYTEST_XDIST_WORKER", None)  # what tests.settings makes of it is in the environment already
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=root,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.id = None

    def wait_for_lease(self, seconds=30):
        def lease():
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            return Worker.objects.filter(pid=self.process.pid, dead_at=None).values_list("pk", flat=True).last()

        self.id = until(lease, seconds)
        return self

    def send(self, number):
        os.killpg(self.process.pid, number)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.process.wait(timeout=10)

    def terminate(self, seconds=20):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)


class Web:
    """One uvicorn process with the product's own settings, listening on a socket."""

    def __init__(self, log, **environment):
        self.folder = Path(tempfile.mkdtemp(prefix="web"))
        self.socket = str(self.folder / "s")
        self.log = log
        url = environment.pop("DATABASE_URL", None) or database_url()
        given = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": url + ("&" if "?" in url else "?") + "application_name=web-under-test",
            **environment,
        }
        command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--uds", self.socket]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, env=given, stdout=output, stderr=output)

    def wait_until_ready(self):
        until(self.answers, 30)
        return self

    def client(self, **more):
        transport = httpx2.HTTPTransport(uds=self.socket)
        return httpx2.Client(transport=transport, base_url="http://localhost", timeout=20, **more)

    def listening_client(self):
        """For as many streams at once as one likes."""
        transport = httpx2.AsyncHTTPTransport(uds=self.socket, limits=httpx2.Limits(max_connections=None))
        return httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=20)

    def answers(self):
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        if not Path(self.socket).exists():
            return False
        with self.client() as client:
            return client.get("/readyz").status_code == 200

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        shutil.rmtree(self.folder)


# --- a worker without a process: its row, and what the engine's functions answer it


def make_worker(seconds=3600.0):
    """A worker's row; negative seconds: its lease is over."""
    ((pk,),) = rows(
        "insert into orchestration_worker (host, pid, started_at, lease_until, fit_from) values ('test', 0,"
        " clock_timestamp(), clock_timestamp() + make_interval(secs => %s), now() - interval '1 day') returning id",
        [seconds],
    )
    return pk


def end_lease(worker):
    rows("update orchestration_worker set lease_until = clock_timestamp() - interval '1 s' where id = %s", [worker])


def claim(worker, want=1):
    """Claim as the recorder of `worker` does: [(run, key, fence)]."""
    found = rows(FLUSH, [worker, [], "[]", "{}", want, QUEUES, False])
    return [row[2:5] for row in found if row[1] == "claimed"]


def flush(worker, step, outcome="completed", *, follow=False, **fields):
    """End a step as the recorder does; the rows that it answers."""
    run, key, fence = step
    item = {"n": 1, "run": run, "key": key, "fence": fence, "was": "running", "outcome": outcome, **fields}
    follows = json.dumps({run: 1} if follow else {})
    return rows(FLUSH, [worker, [run], json.dumps([item]), follows, 0, QUEUES, False])


def end(worker, step, outcome="completed", **fields):
    """The verdicts; none if the step is simply done."""
    return [row[1] for row in flush(worker, step, outcome, **fields)]


def sweep(worker, lost_limit=3, lease=0.0, skip=()):
    return json.loads(value("select engine_sweep_v2(%s, %s, %s, %s)", [worker, lease, lost_limit, list(skip)]))


def race(rounds, *actions):
    """Each action in a thread with a connection of its own, all at once in each round; what they gave, round by round.

    Any exception ends the race and is raised: a deadlock, a time-out of a lock, or what an action did not expect.
    """
    barrier = threading.Barrier(len(actions), timeout=30)
    gave = [[None] * len(actions) for _ in range(rounds)]
    errors = []

    def run(seat, action):
        use_own_connection()
        try:
            for number in range(rounds):
                barrier.wait()
                gave[number][seat] = action(number)
        except threading.BrokenBarrierError:
            pass
        except BaseException as exc:  # noqa: BLE001  raised again where the race was started
            errors.append(exc)
            barrier.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=given) for given in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if errors:
        raise errors[0]
    assert not barrier.broken
    return gave


def insistently(act):
    """As the recorder does with a run that is locked elsewhere: again in the next batch."""
    for _ in range(10_000):
        found = act()
        if not any(row[1] == "busy" for row in found):
            return found
    raise AssertionError("always busy")


# --- what must be true at every moment


def assert_sound(run_id, *, besides=()):
    """The doctor finds nothing wrong with the run, besides what the test's own hand made so. Gives it."""
    (run,) = assert_all_sound([run_id], besides=besides)
    return run


def assert_all_sound(run_ids, *, besides=()):
    """As assert_sound, for many at once; gives them in this order."""
    found = [finding for finding in examine(run_ids) if finding.kind not in besides]
    assert not found, "\n".join([*map(str, found), *told(run_ids)])
    runs = Run.objects.in_bulk(run_ids)
    return [runs[run_id] for run_id in run_ids]


def told(run_ids):
    """What happened in these runs, for people who read why a test failed."""
    events = Event.objects.filter(run_id__in=run_ids[:3]).order_by("run_id", "seq")
    return [f"{event.run_id} #{event.seq} {event.type} {event.key}" for event in events]
