"""All parts of the product as processes on a database of the tests, as `bin/up` runs them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from config.up.processes import Account, kill_group, start
from config.up.services import services_of, socket_folder, wait_until_ready
from tests.harness import ROOT, WorkerProcess, database_url, until


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Site:
    def __init__(self, simulators):
        self.data = Path(tempfile.mkdtemp(prefix="countersign-e2e-", dir="/tmp"))
        self.data.chmod(0o711 if os.geteuid() == 0 else 0o700)
        _, self.valkey = services_of(self.data, self.data)
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.environment = {
            "DATABASE_URL": database_url(),
            "REDIS_URL": self.valkey.url,
            "BASE_URL": self.url,
            "COUNTERSIGN_DATA": str(self.data),
            "OPENAI_BASE_URL": f"{simulators}/v1",
            "OPENAI_API_KEY": "key-for-the-simulator",
        }
        self.web = self.worker = None
        self.passwords = {}

    def start(self):
        self.start_valkey()
        self._manage("seed_demo")
        self.passwords = json.loads((self.data / "demo-people.json").read_text())
        self.worker = WorkerProcess(self.data / "worker.log", self.environment)
        self.start_web()
        self.worker.wait_for_lease()

    def stop(self):
        for end in (self.kill_web, self.kill_worker, self.kill_valkey):
            end()
        shutil.rmtree(socket_folder(self.data, Account.choose()), ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)

    def start_web(self):
        command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--no-access-log", "--lifespan", "off"]
        command += ["--timeout-graceful-shutdown", "2"]
        self.web = start(command, log=self.data / "web.log", environment=self._environment(), folder=ROOT)
        until(self._answers, 60)

    def kill_web(self):
        self._kill(self.web)

    def stop_web(self):
        """As a deploy does."""
        self.web.send_signal(signal.SIGTERM)
        self.web.wait(20)

    def start_worker(self):
        self.worker = WorkerProcess(self.data / "worker.log", self.environment).wait_for_lease()

    def kill_worker(self):
        if self.worker is not None:
            self.worker.kill()

    def start_valkey(self):
        self.valkey.start()
        wait_until_ready([self.valkey])

    def kill_valkey(self):
        self._kill(self.valkey.process)

    def words(self, part="web"):
        """The end of what a part has written."""
        return (self.data / f"{part}.log").read_text(errors="replace")[-4000:]

    def _environment(self):
        given = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **self.environment}
        for name in ("DJANGO_ALLOW_ASYNC_UNSAFE", "PYTEST_XDIST_WORKER"):
            given.pop(name, None)
        return given

    def _manage(self, *command):
        made = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=self._environment(), capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr

    def _answers(self):
        assert self.web.poll() is None, self.words()
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status_code == 200
        except httpx2.TransportError:
            time.sleep(0.05)
            return False

    @staticmethod
    def _kill(process):
        if process is not None:
            kill_group(process)
            process.wait(10)
