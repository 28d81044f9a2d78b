"""A whole site of its own in a folder, and what can be done to its parts. Its methods belong to the main thread."""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from config.chaos.ground import prepare
from config.chaos.plan import Act
from config.up.parts import free_port, parts
from config.up.processes import Refused, kill_group
from config.up.services import ROLE, Postgres, Valkey, services_of, tail, wait_until_ready
from config.up.supervisor import Command, Part

ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 5.0
TICK_SECONDS = 0.05
AGAIN_SECONDS = 0.5  # at the least, between two starts of what does not stay up
OPEN = {
    "orchestration_run": "ended_at is null",
    "orchestration_step": "status in ('ready', 'running', 'waiting')",
    "approvals_request": "status = 'pending'",
    "orchestration_worker": "dead_at is null",
}
CLIENTS = """
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""

# What is done next, and after which pause in seconds.
Doing = Iterator[float]


class House:
    def __init__(self, data: Path, workers: int) -> None:
        self.data = data
        # What a killed process has written, the kernel still has: only a machine that loses its power needs fsync.
        self.postgres, self.valkey = services_of(data, data / "log", {"fsync": "off"})
        port, simulators_port = free_port(), free_port()
        self.url, self.simulators = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{simulators_port}"
        self.journal = data / "log" / "journal.jsonl"
        self.environment = self._environment()
        made = parts(data, port, simulators_port, self.environment, workers)
        made[0].command = [*made[0].command, "--journal", str(self.journal)]
        every: list[Part] = [self.postgres, self.valkey, *made]
        self.parts = {part.name: part for part in every}
        self.tokens: dict[str, str] = {}  # by role
        self.crew = [name for name in self.parts if name.startswith("worker")]
        self.down: set[str] = set()  # parts that are to be away at this moment
        self.woken: list[float] = []  # when frozen workers went on, by the clock of this machine
        self.done: dict[str, int] = {}
        self._started: dict[str, float] = dict.fromkeys(self.parts, 0.0)
        self.ended_alone = 0  # processes that ended without being told to, and were started again

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "COUNTERSIGN_DATA": str(self.data),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "BASE_URL": self.url,
            "ALLOWED_HOSTS": "127.0.0.1",
            "EMAIL_URL": "",
            "SUPABASE_DB_URL": "",
            "OPENAI_API_KEY": "key-for-the-simulator",
            "OPENAI_BASE_URL": f"{self.simulators}/v1",
            "WORKER_LEASE_SECONDS": str(LEASE_SECONDS),
            "WORKER_HEARTBEAT_SECONDS": "0.5",
            "WORKER_DRAIN_SECONDS": "5",
        }

    # --- up and down

    def start(self) -> None:
        """Raises Refused if anything does not come up by itself."""
        (self.data / "beat").mkdir(mode=0o700, exist_ok=True)
        for service in (self.postgres, self.valkey):
            service.start()
        wait_until_ready([self.postgres, self.valkey])
        self.tokens = prepare(self.postgres)
        for name in self.parts:
            self._start(name)

    def mend(self) -> None:
        """Start what ought to run and does not: after an act, or because it ended by itself."""
        for name, part in self.parts.items():
            process = part.process
            if name in self.down or process is None or process.poll() is None:
                continue
            kill_group(process)
            if time.monotonic() > self._started[name] + AGAIN_SECONDS:
                self.ended_alone += isinstance(part, Command)
                self._start(name)

    def _start(self, name: str) -> None:
        """Unless another act has started it already."""
        part = self.parts[name]
        self.down.discard(name)
        if part.process is None or part.process.poll() is not None:
            self._started[name] = time.monotonic()
            part.start()

    def drain(self) -> None:
        """Everything but the two services ends as at a shutdown."""
        commands = [part for part in self.parts.values() if not isinstance(part, Postgres | Valkey)]
        self.down.update(part.name for part in commands)
        for part in commands:
            if part.process is not None:
                part.process.send_signal(signal.SIGTERM)
        for part in commands:
            if part.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    part.process.wait(60)
                kill_group(part.process)
                part.process.wait()

    def stop(self) -> None:
        for part in reversed(self.parts.values()):
            if part.process is not None:
                if isinstance(part, Postgres) and part.process.poll() is None:
                    part.stop()
                kill_group(part.process)
                part.process.wait()

    def connect(self, **options: str) -> "psycopg.Connection[tuple[object, ...]]":
        """Raises psycopg.OperationalError while the database is away."""
        given = " ".join(f"-c {name}={value}" for name, value in options.items())
        return psycopg.connect(
            host=str(self.postgres.sockets), user=ROLE, dbname=ROLE, connect_timeout=5, autocommit=True, options=given
        )

    # --- the acts

    def do(self, act: Act) -> Doing:
        self.done[act.kind] = self.done.get(act.kind, 0) + 1
        match act.kind:
            case "cut backends":
                return self._cut_backends()
            case "crash backend":
                return self._kill_a_backend()
            case "lock rows":
                return self._lock(act.target, act.seconds)
            case "restart crew":
                return self._restart_crew()
        return (self._kill if act.kind.startswith("kill") else self._freeze)(act.target, act.seconds)

    def _kill(self, name: str, seconds: float) -> Doing:
        """Of PostgreSQL the postmaster, without which its other processes end at once."""
        self.down.add(name)
        process = self._process(name)
        kill_group(process)
        process.wait()
        yield seconds
        self._start(name)

    def _freeze(self, name: str, seconds: float) -> Doing:
        process = self._process(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)
        yield seconds
        if name in self.crew:
            self.woken.append(time.time())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)

    def _restart_crew(self) -> Doing:
        """As a rolling deploy: each is told to go, and when it has gone and its heir has a lease, the next."""
        for name in self.crew:
            self.down.add(name)
            process = self._process(name)
            process.send_signal(signal.SIGTERM)
            while process.poll() is None:
                yield TICK_SECONDS
            kill_group(process)
            self._start(name)
            while not self._has_lease(name):
                yield 4 * TICK_SECONDS

    def _cut_backends(self) -> Doing:
        """About half of the connections, in the middle of whatever they do."""
        with contextlib.suppress(psycopg.Error), self.connect() as connection:
            connection.execute(f"select pg_terminate_backend(pid) {CLIENTS} and random() < 0.5")
        yield 0.0

    def _kill_a_backend(self) -> Doing:
        """The server ends all the others for it, and recovers as from a crash."""
        with contextlib.suppress(psycopg.Error, ProcessLookupError), self.connect() as connection:
            found = connection.execute(f"select pid {CLIENTS} order by random() limit 1").fetchone()
            if found:
                os.kill(int(str(found[0])), signal.SIGKILL)
        yield 0.0

    def _lock(self, table: str, seconds: float) -> Doing:
        with contextlib.suppress(psycopg.Error), self.connect() as connection, connection.transaction():
            chosen = sql.SQL(f"select from {{}} where {OPEN[table]} order by random() limit 5 for update skip locked")
            connection.execute(chosen.format(sql.Identifier(table)))
            yield seconds

    def _has_lease(self, name: str) -> bool:
        pid = self._process(name).pid
        with contextlib.suppress(psycopg.Error), self.connect() as connection:
            living = "select from orchestration_worker where pid = %s and dead_at is null"
            return connection.execute(living, [pid]).fetchone() is not None
        return False

    def _process(self, name: str) -> "subprocess.Popen[bytes]":
        process = self.parts[name].process
        if process is None:
            raise Refused(f"{name} was not started. The end of its output:\n{tail(self.parts[name].log)}")
        return process
