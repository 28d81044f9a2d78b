"""What is measured, by name. Each gives its figures; which are good is written in docs/performance.md."""

import contextlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from django.db import connection, transaction

from approvals.models import Request
from orchestration.benchmark.bench import Bench, chain_of, fan_of
from orchestration.benchmark.flow import map_of_items, schedules, timers
from orchestration.benchmark.server import slow_model
from orchestration.benchmark.twin import twin
from orchestration.engine.connection import rows, value
from orchestration.models import DefinitionVersion

Figures = dict[str, Any]
GATE = """name: benchmark-gate
steps:
  figures: {agent: echo, with: {value: 1}}
  check: {needs: [figures], approval: {title: Go on?, show: "${{ steps.figures.output }}"}}
  after: {needs: [check], agent: echo, with: {value: 2}}
"""
COMMITS = "select count(distinct xmin::text) from orchestration_event where run_id = any(%s)"
NEXT = """
select extract(epoch from e.at - d.at) * 1000 from approvals_decision d
join approvals_request q on q.id = d.request_id
join orchestration_event e on e.run_id = (q.context ->> 'run_id')::bigint
    and e.type = 'step.started' and e.data ->> 'step' = 'after'
where q.id = any(%s)
"""


def steps(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """The three figures that others are compared by."""
    bench.start_workers(workers)
    chain, fan = bench.save(chain_of(steps)), bench.save(fan_of(100))
    bench.timed(chain, 5)
    bench.timed(fan, 1)
    alone = min(bench.timed(chain, 1) for _ in range(5))
    together = bench.timed(chain, runs)
    fans = [bench.timed(fan, 1) for _ in range(5)]
    return {
        "ms_per_step": round(alone / steps * 1000, 3),
        "steps_per_s": round(runs * steps / together, 1),
        "fanout_100_s": round(statistics.median(fans), 4),
    }


def processes(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """Throughput with one worker process, with two, and so on up to `workers`."""
    chain = bench.save(chain_of(steps))
    found = {}
    for count in range(1, workers + 1):
        bench.start_workers(1)
        bench.timed(chain, 5)
        found[f"steps_per_s_{count}"] = round(runs * steps / bench.timed(chain, runs), 1)
    return found


def calls(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """500 steps that each wait two seconds on an HTTP server."""
    bench.save_agent(
        name="thinker",
        kind="context",
        configuration={"instructions": "Think."},
        input={"type": "object", "properties": {"value": {"type": "integer"}}},
    )
    with slow_model(2.0) as url:
        bench.start_workers(workers, OPENAI_BASE_URL=url, OPENAI_API_KEY="benchmark")
        seconds = bench.timed(bench.save(fan_of(500, "thinker")), 1)
        return {"calls_500_s": round(seconds, 2), "megabytes": max(bench.memory())}


def memory(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """Megabytes of a worker process before and after 100,000 steps."""
    bench.start_workers(workers)
    chain = bench.save(chain_of(steps))
    bench.timed(chain, 5)
    before, done = max(bench.memory()), 0
    while done < 100_000:
        bench.timed(chain, runs)
        done += runs * steps
    return {"steps": done, "megabytes_before": before, "megabytes_after": max(bench.memory())}


def commits(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """Commits a step, alone and under load, the start of the runs taken off: each event carries its transaction."""
    bench.start_workers(workers)
    chain = bench.save(chain_of(steps))
    bench.timed(chain, 5)

    def of(count: int) -> float:
        started = bench.start(chain, count, {"value": 0})
        bench.wait(started)
        return round((value(COMMITS, [started]) - 1) / (count * steps), 3)

    return {"commits_per_step_alone": of(1), "commits_per_step_together": of(runs)}


def resume(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """From a decision's commit to the start of the next step, while 50 runs are active."""
    bench.start_workers(workers)
    gate, chain = bench.save(GATE), bench.save(chain_of(steps))
    waiting = bench.start(gate, 200, {})
    requests = _requests(bench, waiting)
    with _active(bench, chain, 50):
        for request in requests:
            time.sleep(0.02)  # people do not answer all at once
            _decide(bench, request)
        bench.wait(waiting)
    found = sorted(float(ms) for (ms,) in rows(NEXT, [[request.pk for request in requests]]))
    return {
        "resume_p50_ms": round(statistics.median(found), 1),
        "resume_p99_ms": round(found[int(len(found) * 0.99)], 1),
    }


def _requests(bench: Bench, runs: list[int]) -> list[Request]:
    pending = Request.objects.pending().filter(context__run_id__in=runs)
    bench.until(lambda: pending.count() == len(runs), "the gates to ask")
    return list(pending)


def _decide(bench: Bench, request: Request) -> None:
    request.decide(by=bench.approver, choice="continue", digest=request.digest)


@contextlib.contextmanager
def _active(bench: Bench, version: DefinitionVersion, runs: int) -> Iterator[None]:
    """So many runs are under way all the time: one that ends is followed by another."""
    over = threading.Event()

    def keep() -> None:
        started: list[int] = []
        while not over.wait(0.01):
            open_ = [
                run
                for (run,) in rows(
                    "select id from orchestration_run where id = any(%s) and ended_at is null", [started]
                )
            ]
            started = open_ + bench.start(version, runs - len(open_), {"value": 0})
        connection.close()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def waiting(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """10,000 runs at gates: what holds a worker, what a sweep takes, and the statements of an idle system."""
    bench.start_workers(workers)
    gate = bench.save(GATE)
    held = bench.start(gate, 10_000, {})
    _requests(bench, held)
    idle = bench.idle()
    busy = value("select count(*) from orchestration_step where status in ('running', 'ready')")
    return {"steps_that_hold_a_worker": busy, **idle}


def growth(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """Throughput with a million finished runs of three steps, and with an old snapshot besides, beside that of a
    database without them: both in turn, since the machine's own pace changes more than what is looked for."""
    bench.start_workers(workers)
    chain, small = bench.save(chain_of(steps)), bench.save(chain_of(3).replace("benchmark-chain", "benchmark-small"))
    bench.timed(chain, 5)
    (model,) = bench.start(small, 1, {"value": 0})
    bench.wait([model])
    figures: Figures = {"runs": fill(model, 1_000_000)}
    with twin("asked", runs=runs, steps=steps, workers=workers) as of_empty:

        def compare(pairs: int, which: str) -> None:
            found = [(_throughput(bench, chain, runs, steps), of_empty()) for _ in range(pairs)]
            figures[f"steps_per_s_{which}"], figures[f"steps_per_s_empty_beside_{which}"] = (
                round(statistics.median(rates), 1) for rates in zip(*found, strict=True)
            )
            ratios = [full / empty for full, empty in found]
            figures[f"ratio_{which}"] = round(statistics.median(ratios), 3)
            figures[f"ratios_{which}"] = [round(ratio, 2) for ratio in ratios]

        compare(4, "settling")  # who needs a page at first writes one of those that filled the tables
        compare(10, "full")
        with _old_snapshot():
            compare(10, "full_old_snapshot")
    return figures


def asked(bench: Bench, *, runs: int, steps: int, workers: int) -> Figures:
    """Throughput, once for each line on standard input."""
    bench.start_workers(workers)
    chain = bench.save(chain_of(steps))
    bench.timed(chain, 5)
    for _ in sys.stdin:
        sys.stdout.write(f"{_throughput(bench, chain, runs, steps)}\n")
        sys.stdout.flush()
    return {}


def _throughput(bench: Bench, chain: DefinitionVersion, runs: int, steps: int) -> float:
    return statistics.median(runs * steps / bench.timed(chain, runs) for _ in range(8))


def fill(model: int, count: int) -> int:
    """Copies of an ended run: its row, steps and events. Tables are analyzed, as they would have been by then."""
    part = 50_000
    for done in range(0, count, part):
        rows("select engine_partitions_v4(%s)", [part + 250_000])
        with transaction.atomic():
            rows(
                _COPY_RUNS.format(columns=", ".join(_columns("orchestration_run", "id", "public_id"))),
                [done, done + part, model],
            )
            for table in ("orchestration_step", "orchestration_event"):
                rows(_COPY_PARTS.format(table=table, columns=", ".join(_columns(table, "run_id"))), [model])
            rows("drop table copied")
    for table in ("orchestration_run", "orchestration_step", "orchestration_event"):
        rows(f"vacuum analyze {table}")
    return count


_COPY_RUNS = """
create temp table copied on commit drop as
with made as (
    insert into orchestration_run (public_id, {columns})
    select 'run_copy' || n, {columns}
    from orchestration_run r cross join generate_series(%s + 1, %s) n where r.id = %s returning id)
select id from made
"""
_COPY_PARTS = """
insert into {table} (run_id, {columns}) select c.id, {columns} from copied c cross join {table} t where t.run_id = %s
"""


def _columns(table: str, *but: str) -> list[str]:
    found = rows(
        "select quote_ident(column_name) from information_schema.columns"
        " where table_name = %s and is_generated = 'NEVER' order by 1",
        [table],
    )
    return [name for (name,) in found if name not in but]


@contextlib.contextmanager
def _old_snapshot() -> Iterator[None]:
    """A transaction that began before all that follows, and reads on."""
    given = connection.get_connection_params()
    words = {name: given[name] for name in ("dbname", "user", "password", "host", "port") if name in given}
    with psycopg.connect(**words) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from orchestration_worker")
        yield
        reader.rollback()


SCENARIOS: dict[str, Callable[..., Figures]] = {
    "steps": steps,
    "processes": processes,
    "calls": calls,
    "memory": memory,
    "commits": commits,
    "resume": resume,
    "waiting": waiting,
    "growth": growth,
    "asked": asked,
    "map": map_of_items,
    "timers": timers,
    "schedules": schedules,
}
