"""What watches the site asks: is it up, can it work, how is the work going."""

import hmac
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import cache
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from orchestration.engine.retention import lag
from orchestration.feeds.news import open_pages
from orchestration.feeds.readers import open_streams

OPEN_RUNS = ["planning", "running", "waiting", "paused", "canceling"]
OPEN_STEPS = ["ready", "running", "waiting", "uncertain"]
HINT_SECONDS = 1.0  # how long Valkey may take to answer

# Each reads an index of what is open, so it costs the same however many runs have ended.
RUNS = "select status, count(*) from orchestration_run where ended_at is null group by status"
STEPS = """
select s.status, count(*) from orchestration_run r join orchestration_step s on s.run_id = r.id
where r.ended_at is null and s.status in ('ready', 'running', 'waiting', 'uncertain') group by s.status
"""
PENDING = "select count(*) from approvals_request where status = 'pending'"
OLDEST = """
select coalesce(extract(epoch from clock_timestamp() - min(coalesce((
    select max(n.ended_at) from orchestration_step n where n.run_id = s.run_id and n.dependants && array[s.key, -s.key]
), r.created_at))), 0)
from orchestration_step s join orchestration_run r on r.id = s.run_id where s.status = 'ready'
"""
WORKERS = "select count(*) from orchestration_worker where dead_at is null and lease_until > clock_timestamp()"


def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """503 until the database can be used. Without Valkey everything works, only later: that is said, not refused."""
    database = database_problem()
    words = {
        "status": "not ready" if database else "ready",
        "database": database or "ok",
        "valkey": valkey_problem() or "ok",
    }
    return JsonResponse(words, status=503 if database else 200, headers={"Cache-Control": "no-store"})


def database_problem() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        missing = missing_migrations()
    except DatabaseError as exc:
        return f"The database cannot be reached: {str(exc).splitlines()[0]}"
    return f"The database lacks {missing} migrations: run manage.py migrate." if missing else ""


def missing_migrations() -> int:
    """Once none is missing, none will be while this process lives."""
    try:
        return all_migrated()
    except LookupError as exc:
        return int(exc.args[0])


@cache
def all_migrated() -> int:
    """0; raises LookupError (which is not cached) with how many are missing."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        raise LookupError(len(plan))
    return 0


def valkey_problem() -> str:
    try:
        with redis.from_url(
            settings.REDIS_URL, socket_timeout=HINT_SECONDS, socket_connect_timeout=HINT_SECONDS
        ) as client:
            client.ping()
    except (RedisError, OSError) as exc:
        return f"Valkey cannot be reached, so workers and pages notice news late: {exc}"
    return ""


def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus, by `Authorization: Bearer METRICS_TOKEN` if that is set."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if settings.METRICS_TOKEN and not hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode()):
        return HttpResponse("The bearer token of METRICS_TOKEN is needed.\n", status=401, content_type="text/plain")
    registry = CollectorRegistry()
    registry.register(Work())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class Work(Collector):
    """Read from the rows at each scrape: every web process tells the same, but for its streams."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield by_status("countersign_runs", "Open runs.", RUNS, OPEN_RUNS)
        yield by_status("countersign_steps", "Open steps.", STEPS, OPEN_STEPS)
        yield GaugeMetricFamily("countersign_requests_pending", "Questions to people.", only(PENDING))
        yield GaugeMetricFamily(
            "countersign_oldest_ready_seconds", "Since when the oldest ready step could run.", only(OLDEST)
        )
        yield GaugeMetricFamily(
            "countersign_retention_lag_seconds", "For how long the oldest run that should be gone has been so.", late()
        )
        yield GaugeMetricFamily("countersign_streams", "Event streams that this web process serves.", open_streams())
        yield GaugeMetricFamily("countersign_pages", "Open pages that this web process keeps live.", open_pages())
        yield GaugeMetricFamily("countersign_workers", "Worker processes with a lease.", only(WORKERS))


def by_status(name: str, words: str, sql: str, statuses: list[str]) -> GaugeMetricFamily:
    counts: dict[str, Any] = dict.fromkeys(statuses, 0) | dict(rows(sql))
    family = GaugeMetricFamily(name, words, labels=["status"])
    for status, count in counts.items():
        family.add_metric([status], count)
    return family


def late() -> float:
    return lag(timedelta(days=settings.RETENTION_DAYS)) if settings.RETENTION_DAYS else 0.0


def only(sql: str) -> float:
    return float(next(rows(sql))[0])


def rows(sql: str) -> Iterator[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        yield from cursor.fetchall()
