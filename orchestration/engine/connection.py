import contextlib
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.postgresql.base import DatabaseWrapper

# A plan is made once and kept, on small tables as on large ones: it is to reach rows by their keys, never to scan a
# table because it was small that day.
PLANNER = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "cpu_index_tuple_cost": "1",  # nor to read a whole index because it was short
}


def use_own_connection() -> None:
    """Give the calling thread a connection of its own instead of one from the pool: statements are prepared once, with
    generic plans (worth 40 % of the throughput), and no compilation of plans. A worker that is frozen inside a
    transaction holds its run, and its own row, which its death waits for: for one lease at most.

    Raises OperationalError if the server cannot be reached.
    """
    settings = copy.deepcopy(connections.settings[DEFAULT_DB_ALIAS])
    options = settings["OPTIONS"]
    options.pop("pool", None)
    options["server_side_binding"] = True
    options["prepare_threshold"] = 0
    given = PLANNER | {"idle_in_transaction_session_timeout": f"{max(1, round(django_settings.WORKER_LEASE_SECONDS))}s"}
    options["options"] = " ".join([options.get("options", ""), *(f"-c {name}={on}" for name, on in given.items())])
    with contextlib.suppress(AttributeError):
        connections[DEFAULT_DB_ALIAS].close()
    connections[DEFAULT_DB_ALIAS] = DatabaseWrapper(settings, DEFAULT_DB_ALIAS)


def rows(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of one statement on this thread's connection; outside a transaction, one round trip and commit."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def value(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
    """The first column of the only row."""
    return rows(sql, parameters)[0][0]


def decoded(text: str | None) -> Any:
    """jsonb arrives as text: Django leaves the decoding to its fields."""
    return None if text is None else json.loads(text)


@contextlib.contextmanager
def returned_connection() -> Iterator[None]:
    """Give this thread's connection back to the pool afterwards: a walker holds none while it calls.

    One that an open transaction needs stays.
    """
    try:
        yield
    finally:
        if not connections[DEFAULT_DB_ALIAS].in_atomic_block:
            connections[DEFAULT_DB_ALIAS].close()


def assert_isolation() -> None:
    """The functions rely on each statement's own snapshot. Raises RuntimeError under any other isolation level."""
    level = value("show transaction_isolation")
    if level != "read committed":
        raise RuntimeError(f"The engine needs READ COMMITTED; this database starts transactions as {level.upper()}.")
