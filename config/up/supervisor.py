"""Keeps the parts running, and stops them in order."""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.up.processes import Refused, command_of, kill_group, start, stop_stray
from config.up.services import Postgres, Valkey

LONG_ENOUGH_SECONDS = 30  # a part that ran this long is started again at once
LONGEST_WAIT_SECONDS = 30.0
LOUD = ("error", "critical")


@dataclass
class Command:
    """A part that is a command of ours. `patience_seconds` is what it is given to end by itself."""

    name: str
    command: Sequence[str]
    log: Path
    folder: Path
    environment: Mapping[str, str]
    patience_seconds: float
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = start(self.command, log=self.log, environment=self.environment, folder=self.folder)


Part = Command | Postgres | Valkey


@dataclass
class Watch:
    """One part, how often it died in a row, and when it may start again."""

    part: Part
    deaths: int = 0
    started_at: float = field(default_factory=time.monotonic)
    next_start: float | None = None

    def look(self, say: Callable[[str], None]) -> None:
        now = time.monotonic()
        process = self.part.process
        if self.next_start is not None:
            if now >= self.next_start:
                self._start_again(say)
        elif process is not None and process.poll() is not None:
            kill_group(process)
            self.deaths = 0 if now - self.started_at > LONG_ENOUGH_SECONDS else self.deaths + 1
            wait = 0.0 if self.deaths == 0 else min(LONGEST_WAIT_SECONDS, 0.25 * 2**self.deaths)
            self.next_start = now + wait
            code = process.returncode
            how = signal.Signals(-code).name if code < 0 else f"code {code}"
            say(f"{self.part.name} ended ({how}); starting it again in {wait:g} s. Its output: {self.part.log}")
        elif isinstance(self.part, Postgres) and self.part.end_if_stuck():
            say(f"{self.part.name} did not get on with its recovery and was killed. Its output: {self.part.log}")

    def _start_again(self, say: Callable[[str], None]) -> None:
        self.started_at, self.next_start = time.monotonic(), None
        try:
            self.part.start()
        except (OSError, Refused) as error:
            self.deaths += 1
            self.next_start = self.started_at + min(LONGEST_WAIT_SECONDS, 0.25 * 2**self.deaths)
            say(f"{self.part.name} cannot be started: {error}")


class LogTail:
    """The loud lines that a part has written to its log since the last look."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.position = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        if not self.path.exists() or self.path.stat().st_size <= self.position:
            return []
        with self.path.open("rb") as file:
            file.seek(self.position)
            written = file.read()
        complete = written[: written.rfind(b"\n") + 1]
        self.position += len(complete)
        return [loud for line in complete.decode(errors="replace").splitlines() if (loud := self._loud(line))]

    def _loud(self, line: str) -> str | None:
        try:
            entry = json.loads(line)
        except ValueError:
            return line if line.startswith("Traceback") or " ERROR" in line or "FATAL" in line else None
        if isinstance(entry, dict) and entry.get("level") in LOUD:
            return f"{entry['level']}: {entry.get('event', line)}"
        return None


class Supervisor:
    def __init__(self, say: Callable[[str], None], record: Path) -> None:
        self.say = say
        self.record = record  # of process ids, for the next start where a system does not end orphans
        self.services: list[Watch] = []
        self.commands: list[Watch] = []
        self.tails: list[LogTail] = []
        self.stops = 0

    def listen(self) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, self._stop_asked)

    def _stop_asked(self, number: int, _: object) -> None:
        self.say(f"{signal.Signals(number).name}: stopping.")
        self.stops += 1

    @property
    def is_stopping(self) -> bool:
        return self.stops > 0

    def add_services(self, *services: Postgres | Valkey) -> None:
        for service in services:
            self.services.append(Watch(service))
            service.start()
        self._write_record()

    def add(self, *parts: Command) -> None:
        for part in parts:
            self.tails.append(LogTail(part.name, part.log))
            self.commands.append(Watch(part))
            part.start()
        self._write_record()

    def look(self) -> None:
        """One round: what died is started again, what is loud is said."""
        before = self._pids()
        for watch in [*self.services, *self.commands]:
            watch.look(self.say)
        if self._pids() != before:
            self._write_record()
        for log in self.tails:
            for line in log.lines():
                self.say(f"{log.name} | {line}")

    def run(self) -> None:
        while not self.is_stopping:
            self.look()
            time.sleep(0.2)

    def stop(self) -> None:
        """Doors and workers first, each with its time to finish; then what they talk to. A second Ctrl-C hurries."""
        asked = self.stops
        running = [watch.part for watch in self.commands]
        for group in ([part for part in running if part.name != "simulators"], running):
            self._stop_commands([part for part in group if isinstance(part, Command)], asked)
        for watch in reversed(self.services):
            if not watch.part.process:
                continue
            if isinstance(watch.part, Postgres | Valkey) and not watch.part.stop():
                self.say(f"{watch.part.name} did not end in time and was killed; it recovers at the next start.")
        self.record.unlink(missing_ok=True)

    def _stop_commands(self, parts: list[Command], asked: int) -> None:
        began = time.monotonic()
        alive = [part for part in parts if part.process is not None]
        for part in alive:
            if part.process is not None and part.process.poll() is None:
                part.process.send_signal(signal.SIGTERM)
        while alive:
            for part in list(alive):
                process = part.process
                late = time.monotonic() - began > part.patience_seconds or self.stops > max(asked, 1)
                if process is None or process.poll() is not None or late:
                    alive.remove(part)
                    if process is not None:
                        if process.poll() is None:
                            self.say(f"{part.name} did not end in time and was killed.")
                        kill_group(process)
                        process.wait()
            time.sleep(0.02)

    def _pids(self) -> dict[str, int]:
        watches = [*self.services, *self.commands]
        return {watch.part.name: watch.part.process.pid for watch in watches if watch.part.process}

    def _write_record(self) -> None:
        commands = {str(pid): command_of(pid) for pid in self._pids().values()}
        making = self.record.with_suffix(".making")
        making.write_text(json.dumps(commands))
        making.rename(self.record)


def end_orphans(record: Path) -> None:
    """What a killed launcher left running. Only a process with the very command that was recorded is ours."""
    if not record.exists():
        return
    try:
        recorded = json.loads(record.read_text())
    except ValueError:  # the write itself was cut short
        recorded = {}
    for pid, command in recorded.items():
        if command and command_of(int(pid)) == command:
            stop_stray(int(pid), signal.SIGINT if "postgres" in command else signal.SIGKILL, patience_seconds=30)
    record.unlink(missing_ok=True)


def hold(data: Path) -> int:
    """The one launcher of a data directory; the kernel lets go of it with the process. Raises Refused."""
    file = os.open(data / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.pread(file, 200, 0).decode().strip()
        raise Refused(
            f"Countersign already runs on {data} ({who}).\n"
            "Use that one, or stop it with Ctrl-C where it runs, or start another: bin/up --data FOLDER --port PORT."
        ) from None
    return file


def announce(file: int, words: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, words.encode(), 0)
