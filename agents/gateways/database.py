"""The door to databases that agents read: declared statements, bound parameters, a role that may only SELECT.

Three walls, each enough alone: the login may do nothing but SELECT on its schema, the transaction is READ ONLY, and
the statement runs as a server-side cursor, which PostgreSQL grants to exactly one SELECT. Source: docs/gateways.md.
"""

import atexit
import datetime
import decimal
import json
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import psycopg.conninfo
import psycopg.errors
import psycopg_pool
from django.conf import settings
from django.db import connection as own_database
from django.utils.crypto import salted_hmac
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from agents.exceptions import Canceled, Permanent, Temporary, TimedOut

READER_ROLE = "countersign_reader"
FETCH_ROWS = 200
MAX_BYTES = 2_000_000
CONNECT_SECONDS = 5
POOL_WAIT_SECONDS = 10.0

_pools: dict[str, psycopg_pool.ConnectionPool[psycopg.Connection[dict[str, Any]]]] = {}
_pools_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Query:
    operation: str
    connection: str
    sql: str
    parameters: Mapping[str, Any]
    statement_timeout_seconds: float
    max_rows: int


def query(asked: Query, *, deadline_seconds: float | None, canceled: Callable[[], bool]) -> list[dict[str, Any]]:
    """The rows, ready for JSON. `deadline_seconds` is for the whole call, the wait for a connection included.

    Raises Temporary (no connection, the database stopped us), TimedOut, Canceled, or Permanent (SQL, rights, limits).
    """
    end = math.inf if deadline_seconds is None else time.monotonic() + deadline_seconds
    try:
        pool = _pool(asked.connection)
        with pool.connection(timeout=max(0.001, min(POOL_WAIT_SECONDS, end - time.monotonic()))) as connection:
            return _read(connection, asked, end, canceled)
    except psycopg_pool.PoolTimeout as error:
        raise Temporary(
            f"No connection to {asked.connection} for operation {asked.operation}: unreachable, refused, or all "
            f"{settings.AGENT_DATABASE_POOL_SIZE} connections of this process are busy. See SUPABASE_DB_URL."
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise Permanent(f"Operation {asked.operation} is beyond the reading role's rights: {_first(error)}") from error
    except psycopg.OperationalError as error:
        raise Temporary(f"Operation {asked.operation}: {_first(error)}") from error
    except psycopg.Error as error:
        raise Permanent(f"Operation {asked.operation}: {_first(error)}") from error


def conninfo(name: str) -> str:
    """Where a connection leads: its URL in the settings, or, if that is empty, our own database as the reading role."""
    if url := settings.AGENT_DATABASES[name]:
        return psycopg.conninfo.make_conninfo(url, connect_timeout=CONNECT_SECONDS)
    return own_conninfo()


def own_conninfo() -> str:
    own = own_database.get_connection_params()
    parts = {
        name: own[name] for name in ("dbname", "host", "hostaddr", "port", "sslmode", "sslrootcert") if name in own
    }
    return psycopg.conninfo.make_conninfo(
        **parts,
        user=READER_ROLE,
        password=reader_password(),
        connect_timeout=CONNECT_SECONDS,
    )


def reader_password() -> str:
    return salted_hmac("agents.gateways.database.reader", READER_ROLE).hexdigest()


def _pool(name: str) -> psycopg_pool.ConnectionPool[psycopg.Connection[dict[str, Any]]]:
    if name not in settings.AGENT_DATABASES:
        raise Permanent(f"No database connection {name!r}; known: {', '.join(sorted(settings.AGENT_DATABASES))}.")
    target = conninfo(name)
    with _pools_lock:
        if target not in _pools:
            _pools[target] = psycopg_pool.ConnectionPool(
                target,
                connection_class=psycopg.Connection[dict[str, Any]],
                min_size=0,
                max_size=settings.AGENT_DATABASE_POOL_SIZE,
                max_idle=60,
                reconnect_timeout=POOL_WAIT_SECONDS,
                check=psycopg_pool.ConnectionPool.check_connection,
                kwargs={"prepare_threshold": None, "row_factory": dict_row},
                open=True,
            )
        return _pools[target]


def close_pools() -> None:
    """Give every connection back; the next query opens new ones."""
    with _pools_lock:
        while _pools:
            _pools.popitem()[1].close()


atexit.register(close_pools)


def _read(
    connection: psycopg.Connection[dict[str, Any]], asked: Query, end: float, canceled: Callable[[], bool]
) -> list[dict[str, Any]]:
    left, limit = _in_time(asked, end), asked.statement_timeout_seconds
    try:
        return _rows(connection, asked, min(left, limit), end, canceled)
    except psycopg.errors.QueryCanceled as error:
        # Which limit it was is known from what was set: the server's clock need not agree with ours to the millisecond.
        if left <= limit:
            raise _too_late(asked) from error
        _in_time(asked, end)
        raise Temporary(f"Operation {asked.operation} took longer than its {limit:g} s.") from error


def _rows(
    connection: psycopg.Connection[dict[str, Any]],
    asked: Query,
    timeout: float,
    end: float,
    canceled: Callable[[], bool],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    size = 0
    with connection.transaction(), connection.cursor(name="operation") as cursor:
        connection.execute("set transaction read only")
        connection.execute("select set_config('statement_timeout', %s, true)", [str(math.ceil(timeout * 1000))])
        cursor.execute(asked.sql.strip().rstrip(";"), {key: _bound(value) for key, value in asked.parameters.items()})
        while batch := cursor.fetchmany(min(FETCH_ROWS, asked.max_rows + 1 - len(rows))):
            rows += ({key: _plain(value, asked) for key, value in row.items()} for row in batch)
            size += sum(len(json.dumps(row)) for row in rows[-len(batch) :])
            if len(rows) > asked.max_rows:
                raise Permanent(f"Operation {asked.operation} found more than its limit of {asked.max_rows} rows.")
            if size > MAX_BYTES:
                raise Permanent(f"Operation {asked.operation} answered with more than {MAX_BYTES} bytes.")
            if canceled():
                raise Canceled(f"Operation {asked.operation} was asked to stop.")
            _in_time(asked, end)
    return rows


def _in_time(asked: Query, end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise _too_late(asked)
    return left


def _too_late(asked: Query) -> TimedOut:
    return TimedOut(f"Operation {asked.operation} did not end before the step's time-out.")


def _bound(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict) else value


def _plain(value: Any, asked: Query) -> Any:
    match value:
        case decimal.Decimal() if value.is_finite():
            return float(value)
        case float() if math.isfinite(value):
            return value
        case None | str() | bool() | int():
            return value
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case uuid.UUID():
            return str(value)
        case list():
            return [_plain(each, asked) for each in value]
        case dict():
            return {key: _plain(each, asked) for key, each in value.items()}
    raise Permanent(f"Operation {asked.operation} answered with {value!r:.80}, which has no place in JSON; cast it.")


def _first(error: psycopg.Error) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
