"""Processes that are forked from one that is warm, and die, freeze or are held at a point of the protocol."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.harness import ROOT, database_url, until


class Forked:
    """A process of the nursery, in a session of its own."""

    def __init__(self, pid, log, mark):
        self.pid = pid
        self.log = log
        self.mark = mark

    @property
    def is_gone(self):
        return not Path(f"/proc/{self.pid}").exists()

    @property
    def reached(self):
        """Whether it came to the point of its plan."""
        return self.mark.exists()

    def go_on(self):
        """It was held at its point, or frozen."""
        self.mark.unlink(missing_ok=True)
        self.send(signal.SIGCONT)

    def send(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self):
        self.send(signal.SIGKILL)
        until(lambda: self.is_gone)

    def terminate(self):
        self.send(signal.SIGTERM)
        until(lambda: self.is_gone)

    def words(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Nursery:
    """Gives processes that need no time to start. `environment`: other servers than the usual ones."""

    def __init__(self, **environment):
        self.folder = Path(tempfile.mkdtemp(prefix="nursery"))
        usual = {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "tests.settings"}
        given = {**os.environ, **usual, **environment}
        given.pop("PYTEST_XDIST_WORKER", None)  # as in WorkerProcess
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            cwd=ROOT,
            env=given,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children = []

    def fork(self, deed, *, at=None, nth=1, what="kill", given=None, database=None, **named):
        """`at`, `what`, `nth`: at which point it dies, freezes or is held; `named`: settings."""
        number = len(self.children)
        log, mark = self.folder / f"{number}.log", self.folder / f"{number}.mark"
        plan = at and {"point": at, "deed": what, "nth": nth, "mark": str(mark)}
        wish = {"deed": deed, "given": given or {}, "log": str(log), "plan": plan, "settings": named}
        wish["database"] = database or {}
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        child = Forked(int(self.process.stdout.readline()), log, mark)
        self.children.append(child)
        return child

    def worker(self, **how):
        how = {"WORKER_LEASE_SECONDS": 5.0, "WORKER_HEARTBEAT_SECONDS": 0.3, "WORKER_THREADS": 8, **how}
        return self.fork("work", **how)

    def empty(self):
        for child in self.children:
            if not child.is_gone:
                child.kill()

    def close(self):
        self.empty()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)
        shutil.rmtree(self.folder)
