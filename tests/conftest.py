"""Who and what every test may ask for: people, agents, policies, definitions; and, for tests of other threads and
processes, a database with real commits, an engine in this process, and worker processes."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import httpx2
import hypothesis
import pytest
from django.db import connection, connections
from django.test.utils import setup_databases, teardown_databases

from accounts.models import Role
from agents import tools
from agents.models import Agent
from agents.seeding import seed_agents
from approvals.seeding import seed_policies
from config.up.processes import Account
from config.up.services import away_folder, socket_folder
from orchestration import sources
from orchestration.engine import starts
from orchestration.models import Run
from tests.factories import MemberFactory, OrganizationFactory
from tests.harness import ROOT, EngineHere, Hold, WorkerProcess, assert_sound, until
from tests.launcher import Up

# The same examples each time; others, and more of them, by hand: docs/reliability.md.
hypothesis.settings.register_profile("short", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("long", max_examples=2_000, deadline=None)
hypothesis.settings.load_profile("short")

KEPT = {"django_migrations", "django_content_type", "auth_permission"}
TABLES = """
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition
"""
END_SESSIONS = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = %s"


@pytest.fixture(scope="session")
def django_db_setup(
    request,
    django_test_environment,
    django_db_blocker,
    django_db_modify_db_settings,
    django_db_keepdb,
    django_db_createdb,
):
    """As pytest-django's own, which makes no database for a file whose tests use `committed` only."""
    with django_db_blocker.unblock():
        made = setup_databases(
            verbosity=request.config.option.verbose,
            interactive=False,
            keepdb=django_db_keepdb and not django_db_createdb,
        )
        yield
        if not django_db_keepdb:
            # Of what was killed in the middle of a statement: its server process notices that only at the end of it.
            # And of threads that connect again as soon as their connection is lost.
            name = connection.settings_dict["NAME"]
            connection.close()
            with connection.creation._nodb_cursor() as cursor:
                cursor.execute(f'alter database "{name}" with allow_connections false')
                cursor.execute(END_SESSIONS, [name])
            teardown_databases(made, verbosity=request.config.option.verbose)


@pytest.fixture
def committed(django_db_setup, django_db_blocker):
    """Real commits, which other threads and processes see. Afterwards only what was filled is emptied, the engine's
    partitioned tables too."""
    with django_db_blocker.unblock():
        yield
        with connection.cursor() as cursor:
            cursor.execute(TABLES)
            names = [name for (name,) in cursor.fetchall() if name not in KEPT]
            cursor.execute(" union all ".join(f"select '{name}' where exists (select from {name})" for name in names))  # noqa: S608
            if filled := [name for (name,) in cursor.fetchall()]:
                cursor.execute(f"truncate {', '.join(filled)} cascade")
        connections.close_all()


@pytest.fixture
def database(request):
    """Rolled back after the test, unless it asks for `committed`, itself or through another fixture."""
    return request.getfixturevalue("committed" if "committed" in request.fixturenames else "db")


@pytest.fixture
def organization(database):
    return OrganizationFactory()


@pytest.fixture
def members(organization):
    """One of each role, by its name."""
    return SimpleNamespace(**{role: MemberFactory(organization=organization, roles=[role]) for role in Role.values})


@pytest.fixture
def agents(organization):
    """The shipped agents, by slug."""
    return {version.agent.slug: version for version in seed_agents(organization)}


@pytest.fixture
def policies(organization):
    seed_policies(organization)


@pytest.fixture
def save(organization, agents, policies):
    """Save a definition's text; gives its version."""

    def save(text):
        return sources.apply([sources.Source("test.yaml", text)], organization=organization, by=None)[0]

    return save


@pytest.fixture
def save_agent(organization):
    def save_agent(**spec):
        return Agent.save_version(organization=organization, spec=spec, by=None)

    return save_agent


@pytest.fixture
def begin(save, organization, members):
    """Start a run of a definition's text, or of the steps alone; gives the run."""
    numbers = itertools.count(1)

    def begin(text, given=None, by=None):
        if not text.startswith("name:"):
            text = f"name: test-{next(numbers)}\nsteps:\n{text}"
        slug = save(text).definition.slug
        return starts.start(organization=organization, definition=slug, given=given or {}, by=by or members.operator)

    return begin


@pytest.fixture
def engine_later(committed, settings):
    """Start an engine in this process; gives it."""
    settings.WORKER_THREADS = 8
    started = []

    def start():
        here = EngineHere()
        here.start()
        started.append(here)
        return here

    yield start
    for here in started:
        here.stop()


@pytest.fixture
def engine(engine_later):
    """An engine in this process."""
    return engine_later()


@pytest.fixture
def finished():
    """Wait until a run has ended; gives it as it is then, after looking at all its rows."""

    def finished(run, seconds=30):
        until(lambda: Run.objects.filter(pk=run.pk, ended_at__isnull=False).exists(), seconds)
        return assert_sound(run.pk)

    return finished


@pytest.fixture
def hold(save_agent):
    """A tool of this process whose calls wait until they are let go: agents `hold`, and `once`, not repeatable."""
    held = Hold()
    tools.register("hold", {"hold": held})
    save_agent(name="hold", kind="tool", configuration={"tool": "hold"})
    save_agent(name="once", kind="tool", configuration={"tool": "hold"}, repeatable=False)
    yield held
    held.go.set()


@pytest.fixture(scope="session")
def simulators_process():
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", "--port", "0"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    yield re.search(r"http://\S+", process.stdout.readline())[0]
    process.kill()  # it may be in the middle of a slow answer
    process.wait(timeout=10)
    process.stdout.close()


@pytest.fixture
def data():
    """A data directory another user may pass through, as root needs it; pytest's own tmp_path lets nobody in."""
    folder = Path(tempfile.mkdtemp(prefix="countersign-up-", dir="/tmp"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (folder / "log").mkdir(mode=0o700)
    yield folder
    for path in (socket_folder(folder, Account.choose()), away_folder(folder), folder):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def up(data):
    """Start `bin/up`: `up("--no-demo", NAME="value")`."""
    started = []

    def start(*options, **named) -> Up:
        started.append(Up(data, *options, **named))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)
        one.process.stdout.close()


class Simulator:
    """The model provider: slow once, and a journal of the Idempotency-Keys that reached it."""

    def __init__(self, url):
        self.url = url
        self._client = httpx2.Client(base_url=url, timeout=10)
        self.forget()

    def forget(self):
        self._client.post("/_control", json={"reset": True}).raise_for_status()

    def slow_once(self, seconds):
        self.fail_once("slow", seconds)

    def fail_once(self, fault, seconds=1.0):
        wish = {"fault": fault, "times": 1, "seconds": seconds}
        self._client.post("/_control", json=wish).raise_for_status()

    def keys(self):
        """How many requests came under each key."""
        return json.loads(self._client.get("/_journal").content)["idempotency_keys"]

    def answered(self):
        """How many requests were answered in full."""
        requests = json.loads(self._client.get("/_journal").content)["requests"]
        return sum(request["answered"] for request in requests)

    def close(self):
        self._client.close()


@pytest.fixture
def simulator(simulators_process):
    here = Simulator(simulators_process)
    yield here
    here.close()


@pytest.fixture
def workers(committed, simulators_process, tmp_path):
    """Start worker processes: `workers(2, WORKER_DRAIN_SECONDS="1")`. They start side by side; wait_for_lease waits."""
    started = []

    def start(count=1, **environment):
        given = {"OPENAI_BASE_URL": f"{simulators_process}/v1", "OPENAI_API_KEY": "any", **environment}
        new = [WorkerProcess(tmp_path / f"worker-{len(started) + n}.log", given) for n in range(count)]
        started.extend(new)
        return new

    yield start
    for worker in started:
        worker.kill()
