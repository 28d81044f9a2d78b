"""The same work on another database of the same server, in turn: what the machine does meanwhile, both feel."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from django.conf import settings
from django.db import connection

from orchestration.benchmark.bench import BenchmarkFailed

VALKEY_DATABASES = 16
STOP_SECONDS = 60


@contextlib.contextmanager
def twin(scenario: str, *, runs: int, steps: int, workers: int) -> Iterator[Callable[[], float]]:
    """A benchmark in a process of its own, with workers, an empty database and a Valkey database of its own: a function
    that asks it to measure now. Raises BenchmarkFailed."""
    given = connection.get_connection_params()
    name = f"{given['dbname']}_twin"
    words = {word: given[word] for word in ("dbname", "user", "password", "host", "port", "sslmode") if word in given}
    options = {"scenario": scenario, "runs": runs, "steps": steps, "workers": workers}
    database = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
    try:
        with psycopg.connect(**words, autocommit=True) as asker:
            asker.execute(f'create database "{name}"')
    except psycopg.Error as exc:
        raise BenchmarkFailed(f"It takes a second database, {name}: {str(exc).strip()}.") from exc
    try:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "benchmark", *(f"--{option}={said}" for option, said in options.items())],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DATABASE_URL": database, "REDIS_URL": valkey_beside(settings.REDIS_URL)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

        def measure() -> float:
            try:
                process.stdin.write("\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                return float(json.loads(process.stdout.readline()))  # type: ignore[union-attr]
            except (OSError, ValueError) as exc:
                raise BenchmarkFailed("The second benchmark ended; its words are on standard error.") from exc

        try:
            measure()  # it is ready then
            yield measure
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it and its workers, if any is left
    finally:
        with psycopg.connect(**words, autocommit=True) as asker:
            asker.execute(f'drop database "{name}" with (force)')


def valkey_beside(url: str) -> str:
    """The next database of the same Valkey: `/N` of an address, `?db=N` of a socket."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    said = query.pop("db", "") or (parts.path.strip("/") if parts.scheme != "unix" else "")
    beside = (int(said or 0) + 1) % VALKEY_DATABASES
    if parts.scheme == "unix":
        return f"unix://{parts.path}?{urlencode(query | {'db': beside})}"
    return urlunsplit(parts._replace(path=f"/{beside}", query=urlencode(query)))
