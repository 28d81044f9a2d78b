"""`bin/up` as a process, with whatever it starts."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from config.up.parts import free_port
from tests.harness import ROOT

NOT_OURS = (
    "DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "BASE_URL",
    "COUNTERSIGN_DATA",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
)


class Up:
    def __init__(self, data: Path, *options: str, port: int | None = None, **environment: str) -> None:
        self.data, self.port, self.said = data, port or free_port(), []
        usual = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "config.up", "--data", str(data), "--port", str(self.port), *options],
            cwd=ROOT,
            env={**usual, "DJANGO_SETTINGS_MODULE": "config.settings", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.impatience = threading.Timer(300, self.process.kill)
        self.impatience.start()

    def wait_until_ready(self) -> "Up":
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("Ready after"):
                return self
        raise AssertionError("".join(self.said))

    def end(self, sign: signal.Signals | None = None) -> tuple[int, str]:
        if sign:
            self.process.send_signal(sign)
        self.said.append(self.process.stdout.read())
        self.impatience.cancel()
        return self.process.wait(), "".join(self.said)

    def pids(self) -> dict[int, str]:
        return {int(pid): command for pid, command in json.loads((self.data / "pids.json").read_text()).items()}

    def pid_of(self, part: str) -> int:
        (pid,) = [pid for pid, command in self.pids().items() if part in command]
        return pid
