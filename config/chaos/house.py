"""A whole site of its own in a folder. Its methods belong to the main thread."""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import psycopg

from config.chaos import askew
from config.chaos.cutting import PORT, Cutter
from config.chaos.disk import Disk, NoDisk
from config.chaos.ground import prepare
from config.up.parts import free_port, parts
from config.up.processes import Refused, kill_group
from config.up.services import ROLE, Postgres, Valkey, services_of, tail, wait_until_ready
from config.up.supervisor import Command, Part

ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 5.0
TICK_SECONDS = 0.05
AGAIN_SECONDS = 0.5  # at the least, between two starts of what does not stay up
# So that little of the log is kept: the disk is small.
OPTIONS = {"fsync": "off", "min_wal_size": "32MB", "max_wal_size": "64MB"}


class House:
    def __init__(self, data: Path, workers: int, megabytes: int) -> None:
        """`megabytes`: of PostgreSQL's disk."""
        self.data = data
        # What a killed process has written, the kernel still has: only a machine that loses its power needs fsync.
        self.postgres, self.valkey = services_of(data, data / "log", OPTIONS)
        self.disk = self._disk(megabytes)
        self.cutter = Cutter(str(self.postgres.sockets / f".s.PGSQL.{PORT}"), head_bytes=0)
        port, simulators_port = free_port(), free_port()
        self.url, self.simulators = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{simulators_port}"
        self.journal = data / "log" / "journal.jsonl"
        made = parts(data, port, simulators_port, self._environment(), workers)
        made[0].command = [*made[0].command, "--journal", str(self.journal)]
        every: list[Part] = [self.postgres, self.valkey, *made]
        self.parts = {part.name: part for part in every}
        self.tokens: dict[str, str] = {}  # by role
        self.clocks: dict[str, Path] = {}  # of the workers: by how much each is wrong
        self.crew = [part.name for part in made if part.name.startswith("worker")]
        for part in made:
            if part.name in self.crew:
                self._know(part)
        self._began: dict[int, list[tuple[float, str]]] = defaultdict(list)  # by pid, which the system uses again
        self.down: set[str] = set()  # parts that are to be away at this moment
        self.hurt: dict[str, list[tuple[float, float]]] = defaultdict(list)  # when each was frozen or killed
        self.done: dict[str, int] = defaultdict(int)
        self._started: dict[str, float] = dict.fromkeys(self.parts, 0.0)
        self.ended_alone = 0  # processes that ended without being told to, and were started again

    def _disk(self, megabytes: int) -> Disk | None:
        try:
            disk = Disk(self.postgres.cluster.with_name("disk"), megabytes)
        except NoDisk:
            return None
        self.postgres.cluster = disk.path / "postgres"
        return disk

    def _know(self, part: Command) -> None:
        """Give a worker a clock of its own, and say at the model's server who calls."""
        clock = self.clocks[part.name] = self.data / f"{part.name}.clock"
        askew.write(clock, 0.0)
        python, _, module, *more = part.command
        part.command = [python, "-m", "config.chaos.askew", str(clock), module, *more]
        part.environment = {**part.environment, "OPENAI_PROJECT_ID": part.name}

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "COUNTERSIGN_DATA": str(self.data),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DATABASE_URL": f"postgres://{ROLE}@/{ROLE}?host={self.cutter.folder}",
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
            self.start_part(name)

    def mend(self) -> None:
        """Start what ought to run and does not: after an act, or because it ended by itself."""
        for name, part in self.parts.items():
            process = part.process
            if isinstance(part, Postgres):
                part.end_if_stuck()
            if name in self.down or process is None or process.poll() is None:
                continue
            kill_group(process)
            if time.monotonic() > self._started[name] + AGAIN_SECONDS:
                self.ended_alone += isinstance(part, Command)
                self.start_part(name)

    def start_part(self, name: str) -> None:
        """Unless another act has started it already."""
        part = self.parts[name]
        self.down.discard(name)
        if part.process is None or part.process.poll() is not None:
            self._started[name] = time.monotonic()
            part.start()
            if part.process is not None:
                self._began[part.process.pid].append((time.time(), name))

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

    def stop(self, *, keep: bool) -> None:
        """`keep`: leave the data where `bin/up` finds them."""
        for part in reversed(self.parts.values()):
            if part.process is not None:
                if isinstance(part, Postgres) and part.process.poll() is None:
                    part.stop()
                kill_group(part.process)
                part.process.wait()
        self.cutter.close()
        if self.disk:
            if keep:
                subprocess.run(["cp", "-a", self.postgres.cluster, self.disk.path.parent], check=True)  # noqa: S607
            self.disk.unmount()

    def name_of(self, pid: int, at: float) -> str:
        """Of the process that had this number then."""
        return next((name for began, name in reversed(self._began[pid]) if began <= at), "a stranger")

    def connect(self, **options: str) -> "psycopg.Connection[tuple[object, ...]]":
        """Raises psycopg.OperationalError while the database is away."""
        given = " ".join(f"-c {name}={value}" for name, value in options.items())
        return psycopg.connect(
            host=str(self.postgres.sockets), user=ROLE, dbname=ROLE, connect_timeout=5, autocommit=True, options=given
        )

    def has_lease(self, name: str) -> bool:
        pid = self.process_of(name).pid
        with contextlib.suppress(psycopg.Error), self.connect() as connection:
            living = "select from orchestration_worker where pid = %s and dead_at is null"
            return connection.execute(living, [pid]).fetchone() is not None
        return False

    def process_of(self, name: str) -> "subprocess.Popen[bytes]":
        process = self.parts[name].process
        if process is None:
            raise Refused(f"{name} was not started. The end of its output:\n{tail(self.parts[name].log)}")
        return process
