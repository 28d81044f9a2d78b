import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from accounts.models import Member, Organization, Role, User
from agents.models import Agent
from agents.seeding import seed_agents
from approvals.seeding import seed_policies
from orchestration import sources
from orchestration.engine.connection import rows, use_own_connection, value
from orchestration.engine.starts import start_versions
from orchestration.models import DefinitionVersion

DEADLINE_SECONDS = 600
POLL_SECONDS = 0.01  # the figures come from the rows' own times, so looking seldom costs no accuracy
# Asked in this form it goes by the key. An index of what is open has, with an old snapshot, all that has ended in it.
ENDED = "select count(*) = count(ended_at) from orchestration_run where id = any(%s)"
# Every run completed, every step done, events numbered 1 to n: figures of lost work are worth nothing.
WRONG = """
select count(*) from orchestration_run r where id = any(%s) and (status <> 'completed'
    or seq <> (select count(*) from orchestration_event e where e.run_id = r.id)
    or seq <> (select max(seq) from orchestration_event e where e.run_id = r.id)
    or exists (select from orchestration_step s where s.run_id = r.id and s.status <> 'completed'))
"""


class BenchmarkFailed(Exception):
    """The work was not done as it should, so there is no figure."""


class Bench:
    """An organization of its own on an empty database, and worker processes."""

    def __init__(self) -> None:
        self.organization = Organization.objects.create(slug="global", name="Benchmark")
        self.member = self._member("benchmark", Role.ADMIN)
        self.approver = self._member("approver", Role.APPROVER)
        seed_agents(self.organization)
        seed_policies(self.organization)
        connection.close()
        use_own_connection()
        self.workers: list[subprocess.Popen[bytes]] = []

    def _member(self, name: str, role: Role) -> Member:
        user = User.objects.create(username=name)
        return Member.objects.create(user=user, organization=self.organization, roles=[role])

    # --- worker processes

    def start_workers(self, workers: int, **environment: str) -> None:
        before = len(self.workers)
        self.workers += [self._start_worker(before + number, environment) for number in range(workers)]
        living = "select count(*) from orchestration_worker where dead_at is null"
        self.until(lambda: value(living) >= len(self.workers), "the workers to start")

    def _start_worker(self, number: int, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        words = f"-A config worker -P threads -c 2 -l WARNING -n bench{number}@%h --without-gossip --without-mingle"
        words += f" -Q {','.join(settings.WORKER_QUEUES)}"
        given = {"WORKER_CPU": str(number), **os.environ, **environment}  # as `bin/up` does
        return subprocess.Popen(
            [sys.executable, "-m", "celery", *words.split()], env=given, cwd=settings.BASE_DIR, stdout=sys.stderr
        )

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            worker.wait(60)
        self.workers = []

    def memory(self) -> list[float]:
        """Megabytes resident, of each worker process."""
        pages = [int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) for worker in self.workers]
        return [round(count * os.sysconf("SC_PAGE_SIZE") / 1e6, 1) for count in pages]

    def processor_seconds(self) -> dict[str, float]:
        """Of the worker processes, and of the database's for this one where it runs on this machine."""
        held = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        return {
            "python": sum(_ticks(worker.pid) for worker in self.workers),
            "database": sum(_ticks(pid) for (pid,) in rows(held)),
        }

    # --- work

    def save(self, text: str) -> DefinitionVersion:
        (version,) = sources.apply([sources.Source("benchmark.yaml", text)], organization=self.organization, by=None)
        return version

    def save_agent(self, **spec: Any) -> None:
        Agent.save_version(organization=self.organization, spec=spec, by=None)

    def start(self, version: DefinitionVersion, runs: int, given: Mapping[str, Any]) -> list[int]:
        """All at once, as a batch of the API does."""
        return start_versions(version.pk, self.organization.pk, [given] * runs, by=self.member.pk)

    def wait(self, runs: list[int]) -> None:
        """Until all have ended. Raises BenchmarkFailed if one did not complete as it should."""
        for some in (runs[-1:], runs):  # to look at all of them again and again would take from what is measured
            self.until(partial(self._have_ended, some), "the runs to end")
        if wrong := value(WRONG, [runs]):
            raise BenchmarkFailed(f"{wrong} runs did not complete as they should.")

    def _have_ended(self, runs: list[int]) -> bool:
        return bool(value(ENDED, [runs]))

    def timed(self, version: DefinitionVersion, runs: int, given: Mapping[str, Any] | None = None) -> float:
        """Seconds from the first start to the last completed, by the database's clock and rows."""
        began = value("select clock_timestamp()")
        started = self.start(version, runs, {"value": 0} if given is None else given)
        self.wait(started)
        last = value("select max(ended_at) from orchestration_run where id = any(%s)", [started])
        return float((last - began).total_seconds())

    def until(self, done: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not done():
            if any(worker.poll() is not None for worker in self.workers):
                raise BenchmarkFailed("A worker process ended; its words are on standard error.")
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"Waited {DEADLINE_SECONDS} s for {what}.")
            time.sleep(POLL_SECONDS)

    def idle(self) -> dict[str, float]:
        """What a system costs that has nothing to do: its sweep, and transactions and processor time a second."""
        time.sleep(3)  # what was hinted is looked at
        before, used, began = self.statements(), self.processor_seconds(), time.monotonic()
        time.sleep(10)
        seconds = time.monotonic() - began
        transactions = self.statements() - before
        busy = sum(self.processor_seconds().values()) - sum(used.values())
        (worker,) = rows("select min(id) from orchestration_worker where dead_at is null")[0]
        times = []
        for _ in range(20):
            start = time.perf_counter()
            rows("select engine_sweep_v2(%s, %s, 3, '{}')", [worker, settings.WORKER_LEASE_SECONDS])
            times.append((time.perf_counter() - start) * 1000)
        return {
            "sweep_ms": round(statistics.median(times), 2),
            "transactions_per_s_idle": round(transactions / seconds, 1),
            "processor_ms_per_s_idle": round(busy * 1000 / seconds, 1),
        }

    def statements(self) -> int:
        """Transactions of this database so far."""
        rows("select pg_stat_force_next_flush()")
        return int(value("select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"))


def _ticks(pid: int) -> float:
    try:
        found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended, or is on another machine
        return 0.0
    return (int(found[11]) + int(found[12])) / os.sysconf("SC_CLK_TCK")


def chain_of(steps: int) -> str:
    lines = ["name: benchmark-chain", "steps:", '  s1: {agent: echo, with: {value: "${{ input.value + 1 }}"}}']
    for n in range(2, steps + 1):
        lines.append(
            f'  s{n}: {{needs: [s{n - 1}], agent: echo, with: {{value: "${{{{ steps.s{n - 1}.output.value + 1 }}}}"}}}}'
        )
    return "\n".join(lines)


def fan_of(width: int, agent: str = "echo") -> str:
    names = [f"s{n}" for n in range(1, width + 1)]
    lines = [f"name: benchmark-fan-{agent}", "steps:"]
    lines += [f'  {name}: {{agent: {agent}, with: {{value: "${{{{ input.value + 1 }}}}"}}}}' for name in names]
    lines.append(f'  join: {{needs: [{", ".join(names)}], agent: echo, with: {{value: "${{{{ steps.s1.status }}}}"}}}}')
    return "\n".join(lines)
