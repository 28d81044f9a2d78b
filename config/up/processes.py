"""Processes that do not outlive the one that started them, and what can be known of others."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Refused(Exception):
    """Something a person must change; the text says what."""


@dataclass(frozen=True)
class Account:
    """Who runs the services: oneself, or, started by root, somebody with fewer rights, as PostgreSQL demands."""

    uid: int
    gid: int
    name: str

    @classmethod
    def choose(cls) -> "Account":
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), str(os.geteuid()))
        for name in ("postgres", "nobody"):
            try:
                found = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(found.pw_uid, found.pw_gid, name)
        raise Refused(
            "PostgreSQL does not run as root, and there is no user postgres or nobody to run it."
            " Start this as an ordinary user, or set DATABASE_URL and REDIS_URL."
        )

    @property
    def is_other(self) -> bool:
        return self.uid != os.geteuid()

    def can_reach(self, path: Path) -> bool:
        """Whether every folder above `path`, and itself if it is one, lets this account through."""
        folders = [path.resolve(), *path.resolve().parents]
        return all(self._may_pass(folder.stat()) for folder in folders if folder.is_dir())

    def _may_pass(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def start(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    account: Account | None = None,
    dies_by: signal.Signals = signal.SIGKILL,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, its output appended to `log`. Call from the main thread only.

    When this process dies, however it dies, Linux sends the child `dies_by`; elsewhere the next start finds it.
    """
    other = account if account and account.is_other else None
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder or "/",
            start_new_session=True,
            user=other.uid if other else None,
            group=other.gid if other else None,
            extra_groups=[] if other else None,
            preexec_fn=die_with_parent(dies_by) if LIBC else None,
        )


def die_with_parent(sign: signal.Signals) -> Callable[[], None]:
    """Runs in the child after it has changed its user, which would clear the wish; the parent may be gone by then."""
    parent = os.getpid()

    def ask() -> None:
        assert LIBC is not None  # noqa: S101
        LIBC.prctl(PR_SET_PDEATHSIG, int(sign))
        if os.getppid() != parent:
            os._exit(1)

    return ask


def command_of(pid: int) -> str | None:
    """The command line of a live process; None when there is none."""
    proc = Path("/proc")
    if (proc / "self").exists():
        try:
            return (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") or None
        except OSError:  # it has ended, or is not to be seen
            return None
    listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    return listed.stdout.strip() or None


def commands_of_children(pid: int) -> list[str]:
    """The command lines of the live processes that `pid` has started."""
    if Path("/proc/self").exists():
        found = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        return [command for child in found if parent_of(child) == pid and (command := command_of(child))]
    listed = subprocess.run(["ps", "-A", "-o", "ppid=,command="], capture_output=True, check=False)  # noqa: S607
    lines = [line.split(None, 1) for line in listed.stdout.decode(errors="replace").splitlines()]
    return [line[1] for line in lines if len(line) == 2 and line[0] == str(pid)]


def parent_of(pid: int) -> int | None:
    try:
        status = (Path("/proc") / str(pid) / "stat").read_text(errors="replace")
    except OSError:  # it has ended, or is not to be seen
        return None
    return int(status.rpartition(")")[2].split()[1])  # proc(5): after the name, which may hold anything, and the state


def stop_stray(pid: int, sign: signal.Signals, *, patience_seconds: float) -> None:
    """Stop a process that is not our child, and wait until it is gone."""
    for attempt in (sign, signal.SIGKILL):
        deadline = time.monotonic() + patience_seconds
        try:
            os.kill(pid, attempt)
        except ProcessLookupError:
            return
        while time.monotonic() < deadline:
            if command_of(pid) is None:
                return
            time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], sign: signal.Signals, *, patience_seconds: float) -> bool:
    """Stop a child of ours with whatever it has started; False when it had to be killed."""
    if process.poll() is None:
        process.send_signal(sign)
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        kill_group(process)
        process.wait()
        return False
    kill_group(process)
    return True


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """The part's session is its own, so its process group is all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody is left; macOS says it the other way
        return
