"""The demo's outside database: schema `kpi`, with a row for each KPI and month, and a role that may only read it."""

import hashlib
import math
from datetime import date
from decimal import Decimal

import psycopg
import psycopg.errors
from django.db import DatabaseError, connection, transaction
from psycopg import sql

from agents.gateways import database

MONTHS = 36
EPOCH = date(2020, 1, 1)
SEED_LOCK = 7_361_001
# kpi, title, unit, value in the epoch's month, growth a month, wave of the year, noise, target against trend, digits
MEASURES = (
    ("revenue", "Revenue", "EUR", 84_000, 0.013, 0.06, 0.03, 1.02, 0),
    ("costs", "Costs", "EUR", 61_000, 0.011, 0.02, 0.02, 0.99, 0),
    ("new_customers", "New customers", "customers", 41, 0.010, 0.12, 0.10, 1.05, 0),
    ("active_customers", "Active customers", "customers", 620, 0.012, 0.01, 0.01, 1.01, 0),
    ("churn_rate", "Churn rate", "%", 3.4, -0.004, 0.08, 0.07, 0.95, 2),
    ("nps", "Net promoter score", "points", 34, 0.004, 0.03, 0.05, 1.04, 0),
    ("support_tickets", "Support tickets", "tickets", 390, 0.008, 0.09, 0.06, 0.96, 0),
    ("conversion_rate", "Conversion rate", "%", 2.1, 0.003, 0.05, 0.06, 1.03, 2),
)
SCHEMA = """
create schema if not exists kpi;
create table if not exists kpi.measures (
    kpi text primary key, title text not null, unit text not null, position integer not null
);
create table if not exists kpi.figures (
    kpi text not null references kpi.measures, month date not null, amount numeric not null, target numeric,
    primary key (kpi, month)
);
"""


class CannotMakeReader(Exception):
    """The role that reads the KPIs cannot be made with the rights of DATABASE_URL's user."""


def seed_kpi() -> None:
    """Schema, role and rows for the 36 months up to last month, by the database's clock; adds only what is missing."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", [SEED_LOCK])
        cursor.execute(SCHEMA)
        cursor.execute("select date_trunc('month', clock_timestamp() at time zone 'UTC')::date")
        (this_month,) = cursor.fetchone()
        cursor.executemany(
            "insert into kpi.measures values (%s, %s, %s, %s) on conflict do nothing",
            [(*measure[:3], position) for position, measure in enumerate(MEASURES, start=1)],
        )
        cursor.executemany(
            "insert into kpi.figures values (%s, %s, %s, %s) on conflict do nothing", _figures(this_month)
        )
    make_reader()


def _figures(this_month: date) -> list[tuple[str, date, Decimal, Decimal]]:
    now = _months_since_epoch(this_month)
    months = [EPOCH.replace(year=EPOCH.year + at // 12, month=at % 12 + 1) for at in range(now - MONTHS, now)]
    return [(measure[0], month, *figure(measure, month)) for measure in MEASURES for month in months]


def figure(measure: tuple, month: date) -> tuple[Decimal, Decimal]:
    """(amount, target): the same for ever, whenever and wherever it is computed."""
    kpi, _, _, start, growth, wave, noise, ambition, digits = measure
    at = _months_since_epoch(month)
    trend = start * (1 + growth) ** at
    season = 1 + wave * math.sin(2 * math.pi * (month.month - 2) / 12)
    chance = int.from_bytes(hashlib.sha256(f"{kpi} {month}".encode()).digest()[:4], "big") / 2**31 - 1
    amount = trend * season * (1 + noise * chance)
    return round(Decimal(amount), digits), round(Decimal(trend * ambition), digits)


def _months_since_epoch(month: date) -> int:
    return (month.year - EPOCH.year) * 12 + month.month - EPOCH.month


def make_reader() -> None:
    """Make or mend the role. Raises CannotMakeReader with what a person of more rights has to run."""
    if _can_read():
        return
    try:
        _grant()
    except DatabaseError:  # another database of this cluster may have made the role at the same moment
        try:
            _grant()
        except DatabaseError as error:
            raise CannotMakeReader(_advice(error)) from error


@transaction.atomic
def _grant() -> None:
    role, password = sql.Identifier(database.READER_ROLE), sql.Literal(database.reader_password())
    with connection.cursor() as cursor:
        cursor.execute("select 1 from pg_roles where rolname = %s", [database.READER_ROLE])
        verb = "alter" if cursor.fetchone() else "create"
        rights = f"{verb} role {{}} login nosuperuser nocreatedb nocreaterole noinherit password {{}}"
        for statement in (
            sql.SQL(rights).format(role, password),
            sql.SQL("grant usage on schema kpi to {}").format(role),
            sql.SQL("grant select on all tables in schema kpi to {}").format(role),
        ):
            cursor.execute(statement.as_string(cursor.connection))


def _can_read() -> bool:
    """Does a login as the reading role see the figures? Then there is nothing to do."""
    target = database.own_conninfo()
    try:
        with psycopg.connect(target) as reader:
            reader.execute("select 1 from kpi.figures limit 1")
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
        return False
    return True


def _advice(error: Exception) -> str:
    return (
        f"The role {database.READER_ROLE}, which reads the demo's KPIs, cannot be made: {error}. As a user who may "
        f"create roles, run: create role {database.READER_ROLE} login; grant usage on schema kpi to "
        f"{database.READER_ROLE}; grant select on all tables in schema kpi to {database.READER_ROLE}; then put a URL "
        "that logs in as it into SUPABASE_DB_URL. Everything else works without it."
    )
