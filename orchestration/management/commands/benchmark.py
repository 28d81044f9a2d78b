import json
import os
import signal
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from accounts.models import Member, Organization, Role, User
from agents.seeding import seed_agents
from orchestration import sources
from orchestration.engine.connection import rows, use_own_connection, value
from orchestration.engine.starts import start_version
from orchestration.models import DefinitionVersion

DEADLINE_SECONDS = 300
POLL_SECONDS = 0.01  # the figures come from the rows' own times, so looking seldom costs no accuracy


class Command(BaseCommand):
    """Real Celery workers, real commits, every step recorded with its events, as in production."""

    help = "Measure the engine on an empty database with worker processes of its own."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=100, help="runs started together for steps_per_s")
        parser.add_argument("--steps", type=int, default=20, help="steps of a chain")
        parser.add_argument("--workers", type=int, default=2, help="worker processes")
        parser.add_argument("--json", action="store_true", help="only the figures, as one JSON object on the last line")

    def handle(self, *, runs: int, steps: int, workers: int, json: bool, **_: Any) -> None:
        if runs < 1 or steps < 2 or workers < 1:
            raise CommandError("--runs and --workers must be at least 1, --steps at least 2.")
        call_command("migrate", verbosity=0)
        if Organization.objects.exists():
            raise CommandError("This database is not empty; the benchmark wants one to itself.")
        bench = Bench()
        children = bench.children
        try:
            bench.start_workers(workers)
            figures = bench.measure(runs, steps)
        finally:
            for child in children:
                child.send_signal(signal.SIGTERM)
            for child in children:
                child.wait(30)
        if not json:
            self.stdout.write(f"{runs} runs of {steps} steps, {workers} worker processes")
        self.stdout.write(as_line(figures))


class Bench:
    def __init__(self) -> None:
        self.organization = Organization.objects.create(slug="global", name="Benchmark")
        user = User.objects.create(username="benchmark")
        self.member = Member.objects.create(user=user, organization=self.organization, roles=[Role.ADMIN])
        seed_agents(self.organization)
        connection.close()
        use_own_connection()
        self.children: list[subprocess.Popen[bytes]] = []

    def start_workers(self, workers: int) -> None:
        self.children += [self._start_worker(number) for number in range(workers)]
        living = "select count(*) from orchestration_worker where dead_at is null"
        self._until(lambda: value(living) >= workers, "the workers to start")

    def _start_worker(self, number: int) -> "subprocess.Popen[bytes]":
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "config",
            "worker",
            "-P",
            "threads",
            "-c",
            "2",
            "-l",
            "WARNING",
        ]
        command += [
            "-n",
            f"bench{number}@%h",
            "-Q",
            ",".join(settings.WORKER_QUEUES),
            "--without-gossip",
            "--without-mingle",
        ]
        return subprocess.Popen(command, env=os.environ, cwd=settings.BASE_DIR, stdout=sys.stderr)

    def measure(self, runs: int, steps: int) -> dict[str, float]:
        chain = self.save(chain_of(steps))
        fan = self.save(fan_of(100))
        self.timed(chain, 5)
        self.timed(fan, 1)
        alone = min(self.timed(chain, 1) for _ in range(5))
        together = self.timed(chain, runs)
        fans = [self.timed(fan, 1) for _ in range(5)]
        self.assert_complete()
        return {
            "ms_per_step": round(alone / steps * 1000, 3),
            "steps_per_s": round(runs * steps / together, 1),
            "fanout_100_s": round(statistics.median(fans), 4),
        }

    def save(self, text: str) -> DefinitionVersion:
        (version,) = sources.apply([sources.Source("benchmark.yaml", text)], organization=self.organization, by=None)
        return version

    def timed(self, version: DefinitionVersion, runs: int) -> float:
        """Seconds from the first start to the last completed, by the database's clock and rows."""
        began = value("select clock_timestamp()")
        started = [
            start_version(version.pk, self.organization.pk, {"value": 0}, by=self.member.pk) for _ in range(runs)
        ]
        self._until(
            lambda: (
                not value(
                    "select exists (select from orchestration_run where id = any(%s) and ended_at is null)", [started]
                )
            ),
            "the runs to end",
        )
        last = value("select max(ended_at) from orchestration_run where id = any(%s)", [started])
        return float((last - began).total_seconds())

    def assert_complete(self) -> None:
        """Every run completed, every step done, events numbered 1 to n: figures of lost work are worth nothing."""
        ((wrong,),) = rows(
            "select count(*) from orchestration_run r where status <> 'completed' or seq <> "
            "(select count(*) from orchestration_event e where e.run_id = r.id) or seq <> "
            "(select max(seq) from orchestration_event e where e.run_id = r.id) or exists "
            "(select from orchestration_step s where s.run_id = r.id and s.status <> 'completed')"
        )
        if wrong:
            raise CommandError(f"{wrong} runs did not complete as they should.")

    def _until(self, done: Any, what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not done():
            if any(child.poll() is not None for child in self.children):
                raise CommandError("A worker process ended; its words are on standard error.")
            if time.monotonic() > deadline:
                raise CommandError(f"Waited {DEADLINE_SECONDS} s for {what}.")
            time.sleep(POLL_SECONDS)


def chain_of(steps: int) -> str:
    lines = ["name: benchmark-chain", "steps:", '  s1: {agent: echo, with: {value: "${{ input.value + 1 }}"}}']
    for n in range(2, steps + 1):
        lines.append(
            f'  s{n}: {{needs: [s{n - 1}], agent: echo, with: {{value: "${{{{ steps.s{n - 1}.output.value + 1 }}}}"}}}}'
        )
    return "\n".join(lines)


def fan_of(width: int) -> str:
    names = [f"s{n}" for n in range(1, width + 1)]
    lines = ["name: benchmark-fan", "steps:"]
    lines += [f'  {name}: {{agent: echo, with: {{value: "${{{{ input.value + 1 }}}}"}}}}' for name in names]
    lines.append(
        f'  join: {{needs: [{", ".join(names)}], agent: echo, with: {{value: "${{{{ steps.s1.output.value + 1 }}}}"}}}}'
    )
    return "\n".join(lines)


def as_line(figures: dict[str, float]) -> str:
    return json.dumps(figures)
