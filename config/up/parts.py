"""The processes of ours that make up a site: their commands and logs."""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from config.up.supervisor import Command

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def parts(
    data: Path, port: int, simulators_port: int, environment: Mapping[str, str], workers: int = WORKERS
) -> list[Command]:
    """Simulators, web, the workers, beat; each with a copy of `environment`."""
    environment = dict(environment)

    def part(name: str, patience_seconds: float, *command: str, **unless_given: str) -> Command:
        log = data / "log" / f"{name}.log"
        given = {**unless_given, **environment}
        return Command(name, [sys.executable, "-m", *command], log, ROOT, given, patience_seconds)

    celery = ("celery", "--app", "config")
    drain = float(environment.get("WORKER_DRAIN_SECONDS") or 20)
    crew = [
        part(
            f"worker{number}",
            drain + 10,
            *celery,
            *("worker", "-P", "threads", "-c", "4", "-n", f"worker{number}@%h", "--without-gossip", "--without-mingle"),
            *("--loglevel", "INFO", "-Q", environment.get("WORKER_QUEUES") or "default,context,tool,orchestrator"),
            WORKER_CPU=str(number),
        )
        for number in range(1, workers + 1)
    ]
    web = part("web", 15, "uvicorn", "config.asgi:application", "--host", "127.0.0.1", "--port", str(port))
    web.command = [*web.command, "--no-access-log", "--lifespan", "off", "--timeout-graceful-shutdown", "5"]
    beat = part("beat", 15, *celery, "beat", "--schedule", str(data / "beat" / "schedule"), "--pidfile", "")
    return [part("simulators", 15, "simulators", "--port", str(simulators_port)), web, *crew, beat]
