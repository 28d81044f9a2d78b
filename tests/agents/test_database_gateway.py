import psycopg
import pytest
from django.db import connection

from agents import specs
from agents.exceptions import Permanent, Temporary, TimedOut
from agents.gateways import database
from agents.runners import tool
from agents.seeding import LIBRARY
from simulators.kpi import MEASURES, MONTHS, seed_kpi

SHIPPED = specs.check(specs.read((LIBRARY / "supabase-agent.yaml").read_text()))["configuration"]


def last_month():
    with connection.cursor() as cursor:
        cursor.execute("select to_char(max(month), 'YYYY-MM') from kpi.figures")
        return cursor.fetchone()[0]


def declared(sql, **more):
    operation = {"sql": sql, "parameters": {"type": "object", "additionalProperties": False}, **more}
    return {"connection": "supabase", "operations": {"one": operation}}


@pytest.fixture
def ask(call, kpi_database):
    def run(configuration=SHIPPED, operation="one", deadline_seconds=10.0, **parameters):
        asked = {"operation": operation, **parameters}
        return tool.run(call(configuration=configuration, input=asked, deadline_seconds=deadline_seconds)).output

    return run


def test_kpis_of_a_month_come_with_target_and_change(ask):
    output = ask(operation="kpi_by_month", month=last_month())

    assert output["month"] == last_month()
    assert [row["kpi"] for row in output["rows"]] == [measure[0] for measure in MEASURES]
    revenue = output["rows"][0]
    assert isinstance(revenue["amount"], float)
    assert revenue["change_percent"] == pytest.approx(100 * (revenue["amount"] / revenue["previous"] - 1), abs=0.06)


def test_a_series_ends_with_the_newest_month(ask):
    rows = ask(operation="kpi_series", kpi="nps", months=3)["rows"]

    assert [row["month"] for row in rows] == sorted(row["month"] for row in rows)
    assert (len(rows), rows[-1]["month"]) == (3, last_month())
    assert len(ask(operation="kpi_measures")["rows"]) == len(MEASURES)


def test_seeding_again_changes_nothing(kpi_database):
    with connection.cursor() as cursor:
        cursor.execute("update kpi.figures set amount = 1 where kpi = 'nps'")
        seed_kpi()
        cursor.execute("select count(*), count(*) filter (where amount = 1) from kpi.figures")
        assert cursor.fetchone() == (len(MEASURES) * MONTHS, MONTHS)


@pytest.mark.parametrize(
    "parameters",
    [
        {"month": "2026-10'; drop table kpi.figures; --"},
        {"month": "2026-13"},
        {"month": 202610},
        {"month": None},
        {"month": ["2026-10"]},
        {"month": {"$gt": ""}},
        {},
        {"month": "2026-10", "limit": "all"},
    ],
)
def test_hostile_parameters_never_reach_the_database(ask, parameters):
    with pytest.raises(Permanent, match="kpi_by_month: invalid parameters"):
        ask(operation="kpi_by_month", **parameters)
    assert ask(operation="kpi_measures")["rows"]


def test_text_that_looks_like_sql_stays_text(ask):
    text = "'; drop table kpi.figures; --"
    parameters = {"type": "object", "additionalProperties": False, "properties": {"text": {"type": "string"}}}

    assert ask(declared("select %(text)s::text as said", parameters=parameters), text=text)["rows"] == [{"said": text}]


def test_a_month_without_figures_is_told(ask):
    with pytest.raises(Permanent, match="kpi_by_month found nothing for month=1999-01"):
        ask(operation="kpi_by_month", month="1999-01")


@pytest.mark.parametrize("operation", ["drop_all", None, 5, ["kpi_by_month"]])
def test_an_unknown_operation_is_told_with_the_known(ask, operation):
    with pytest.raises(Permanent, match="this agent has: kpi_by_month"):
        ask(operation=operation)


@pytest.mark.parametrize(
    "sql",
    [
        "delete from kpi.figures",
        "with gone as (delete from kpi.figures returning *) select * from gone",
        "select * from accounts_user",
        "select pg_read_file('/etc/passwd')",
        "set transaction read write",
        "select 1; drop table kpi.figures",
        "select nextval('accounts_user_id_seq')",
    ],
)
def test_whatever_a_builder_declares_can_only_read_the_kpis(ask, sql):
    with pytest.raises(Permanent, match="Operation one"):
        ask(declared(sql))
    assert ask(operation="kpi_measures")["rows"]


def test_the_role_itself_may_not_write(kpi_database):
    with psycopg.connect(database.conninfo("supabase")) as reader:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("delete from kpi.figures")
        reader.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("select * from accounts_user")


def test_a_slow_statement_is_stopped(ask):
    slow = declared("select pg_sleep(30)::text", statement_timeout_seconds=0.1)

    with pytest.raises(Temporary, match=r"longer than its 0\.1 s"):
        ask(slow)
    with pytest.raises(TimedOut):
        ask(declared("select pg_sleep(30)::text"), deadline_seconds=0.2)


def test_too_many_rows_and_bytes_are_refused(ask):
    with pytest.raises(Permanent, match="limit of 5 rows"):
        ask(declared("select generate_series(1, 1000000000) as n", max_rows=5))
    with pytest.raises(Permanent, match="bytes"):
        ask(declared("select repeat('x', 3000000) as x"))


def test_values_become_plain_json(ask):
    sql = "select 1.50::numeric as n, date '2026-10-01' as d, null::int as z, array[1,2] as a, '{\"k\": 1}'::jsonb as j"

    assert ask(declared(sql))["rows"] == [{"n": 1.5, "d": "2026-10-01", "z": None, "a": [1, 2], "j": {"k": 1}}]
    with pytest.raises(Permanent, match="no place in JSON"):
        ask(declared("select 'NaN'::numeric as n"))


def test_an_answer_outside_the_declared_output_is_refused(ask):
    output = {"type": "object", "properties": {"rows": {"maxItems": 0}}}

    with pytest.raises(Permanent, match="outside the declared output"):
        ask(declared("select 1 as n", output=output))


def test_a_connection_that_died_is_replaced(ask):
    ask(operation="kpi_measures")
    with connection.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [database.READER_ROLE]
        )

    assert ask(operation="kpi_measures")["rows"]


def test_a_database_that_is_away_is_temporary(call, settings):
    settings.AGENT_DATABASES = {"supabase": "postgres://reader@127.0.0.1:1/none"}

    with pytest.raises(Temporary, match="SUPABASE_DB_URL"):
        tool.run(call(configuration=SHIPPED, input={"operation": "kpi_measures"}, deadline_seconds=0.5))
