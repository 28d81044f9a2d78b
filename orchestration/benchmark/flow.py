"""What maps and timers are measured by."""

import statistics
from datetime import timedelta
from typing import Any

from orchestration.benchmark.bench import Bench, BenchmarkFailed
from orchestration.engine.connection import rows, value

ITEMS, TIMERS = 1_000, 10_000
MAP = """name: benchmark-map
input: {properties: {values: {type: array}}}
steps:
  each: {map: {over: "${{ input.values }}"}, agent: echo, with: {value: "${{ item + 1 }}"}}
"""
WAIT = """name: benchmark-timer
input: {properties: {at: {type: string}}}
steps:
  wait: {wait: {until: "${{ input.at }}"}}
  after: {needs: [wait], agent: echo, with: {value: 1}}
"""
SCHEDULED = """name: benchmark-scheduled-{number}
schedule: [{schedules}]
steps:
  a: {{agent: echo, with: {{value: 1}}}}
"""
SCHEDULES, OF_EACH = 1_000, 50
WAITING = "select count(*) from orchestration_step where run_id = any(%s) and status = 'waiting'"
STARTED = (
    "select started_at from orchestration_step where run_id = any(%s) and name = 'after' and started_at is not null"
)


def map_of_items(bench: Bench, *, runs: int, steps: int, workers: int) -> dict[str, Any]:
    """A map of 1,000 no-op items: seconds, and processor time for each item; the median of nine."""
    bench.start_workers(workers)
    version, given = bench.save(MAP), {"values": list(range(ITEMS))}
    for _ in range(3):
        bench.timed(version, 1, given)
    before = bench.processor_seconds()
    found = [bench.timed(version, 1, given) for _ in range(9)]
    after = bench.processor_seconds()
    return {
        f"map_{ITEMS}_s": round(statistics.median(found), 3),
        "fastest_s": round(min(found), 3),
        **{f"{name}_ms_per_item": round((after[name] - before[name]) * 1000 / (9 * ITEMS), 3) for name in before},
    }


def timers(bench: Bench, *, runs: int, steps: int, workers: int) -> dict[str, Any]:
    """10,000 timers of the same second: when half of the steps behind them have started, and the last."""
    bench.start_workers(workers)
    due = value("select date_trunc('second', clock_timestamp())") + timedelta(seconds=60)
    held = bench.start(bench.save(WAIT), TIMERS, {"at": due.isoformat()})
    bench.until(lambda: value(WAITING, [held]) == TIMERS, "the timers to be set")
    if value("select clock_timestamp()") >= due:
        raise BenchmarkFailed("They were due before all of them were set.")
    bench.wait(held)
    late = sorted(float((at - due).total_seconds()) for (at,) in rows(STARTED, [held]))
    return {"half_started_s": round(late[TIMERS // 2], 2), "last_started_s": round(late[-1], 2)}


def schedules(bench: Bench, *, runs: int, steps: int, workers: int) -> dict[str, Any]:
    """What the idle system costs without a schedule, and with 1,000 whose next times are far off."""
    bench.start_workers(workers)
    without = bench.idle()
    far = ", ".join(f'{{cron: "{n} 0 29 2 *"}}' for n in range(OF_EACH))
    for number in range(SCHEDULES // OF_EACH):
        bench.save(SCHEDULED.format(number=number, schedules=far))
    return {"schedules": value("select count(*) from orchestration_schedule"), "without": without, "with": bench.idle()}
