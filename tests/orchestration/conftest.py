import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import ApiToken
from config.chaos.cutting import PORT, Cutter
from config.up.processes import kill_group
from config.up.services import services_of, wait_until_ready
from orchestration.engine import parts
from orchestration.engine.connection import rows
from orchestration.engine.starts import start_version
from tests.harness import forget_versions

SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and state is not null"
END_SESSIONS = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
)


@pytest.fixture
def client_of():
    """A client of the API with a new token of a member."""

    def client_of(member, *scopes):
        _, plaintext = ApiToken.issue(member=member, name="test", scopes=scopes, expires_at=None, by=None)
        client = APIClient(raise_request_exception=True)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {plaintext}")
        return client

    return client_of


@pytest.fixture
def start_many(committed, save, organization, members):
    """Runs of one definition, by their ids."""

    def start_many(text, count=200):
        version = save(text)
        return [start_version(version.pk, organization.pk, {}, by=members.operator.pk) for _ in range(count)]

    return start_many


@pytest.fixture
def operator(client_of, members):
    return client_of(members.operator)


@pytest.fixture
def viewer(client_of, members):
    return client_of(members.viewer)


@pytest.fixture
def partitions(committed):
    """Those that a retention leaves are dropped afterwards, with their runs."""
    yield
    rows("delete from orchestration_run")
    lo, hi = parts.past(timezone.now())
    parts.write_anew(lo, hi)


@pytest.fixture
def cutter(committed):
    connection.ensure_connection()
    there = connection.connection.info
    if not there.host.startswith("/"):
        pytest.skip("the server is not on a unix socket")
    cutter = Cutter(f"{there.host}/.s.PGSQL.{there.port}")
    yield cutter
    cutter.close()


@pytest.fixture
def through_cutter(cutter, monkeypatch):
    """Whoever connects from now on does it through there."""
    for name, given in (("HOST", str(cutter.folder)), ("PORT", PORT)):
        monkeypatch.setitem(connections.settings["default"], name, given)
    return cutter


@pytest.fixture
def servers(django_db_setup, django_db_blocker, data):
    """A PostgreSQL and a Valkey of this test's own, which Django talks to instead of the usual ones."""
    # What a killed process has written, the kernel still has: only a machine that loses its power needs fsync.
    postgres, valkey = services_of(data, data / "log", {"fsync": "off"})
    usual = dict(connection.settings_dict)
    try:
        for service in (postgres, valkey):
            service.start()
        wait_until_ready([postgres, valkey])
        with django_db_blocker.unblock():
            connections.close_all()
            connection.settings_dict.update(
                HOST=str(postgres.sockets), PORT="", USER="countersign", PASSWORD="", NAME="countersign"
            )
            call_command("migrate", verbosity=0)
        forget_versions()
        yield postgres, valkey
    finally:
        forget_versions()
        connections.close_all()
        connection.settings_dict.update(usual)
        for service in (postgres, valkey):
            if service.process is not None:
                kill_group(service.process)
                service.process.wait(timeout=10)


@pytest.fixture
def read_only(committed):
    """As after a failover: whoever connects now may only read. What it gives makes the database writable again."""
    name = connection.settings_dict["NAME"]

    def reset():
        rows(f'alter database "{name}" reset default_transaction_read_only')
        rows(END_SESSIONS)

    def forbid():
        rows(f'alter database "{name}" set default_transaction_read_only = on')
        rows(END_SESSIONS)
        return reset

    yield forbid
    reset()
