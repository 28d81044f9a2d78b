"""A real site, real people in real browsers.

The site is started once; its people sign in once, through its page. What a test changes is its own: its own runs, its
own windows.
"""

import importlib.util
import json
import os
from pathlib import Path

import pytest
import redis
from django.db import connections

from accounts.models import ApiToken, Member
from config.up.environment import find_browser
from orchestration.engine.connection import rows
from orchestration.engine.hints import LOGGED
from orchestration.engine.lines import WRITE
from orchestration.models import Run
from orchestration.trials import start_trial
from tests.e2e.site import Site
from tests.e2e.windows import Client, Troubles
from tests.harness import assert_sound, until

HERE = Path(__file__).parent
OTHERS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
PATIENCE_MS = 20_000  # two busy processors; nothing waits so long that goes well

if importlib.util.find_spec("pytest_playwright"):
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)
else:
    collect_ignore_glob = ["test_*.py"]

# The browser's driver runs an event loop in the thread of the tests, where Django would refuse to read a row.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


def pytest_configure(config):
    for name, value in {"screenshot": "only-on-failure", "tracing": "retain-on-failure"}.items():
        if getattr(config.option, name, None) == "off":
            setattr(config.option, name, value)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium was found")
    no_sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {**browser_type_launch_args, "executable_path": browser, "args": no_sandbox}


@pytest.fixture(scope="session")
def site(django_db_setup, django_db_blocker, simulators_process):
    with django_db_blocker.unblock():
        site = Site(simulators_process)
        try:
            site.start()
            yield site
        finally:
            site.stop()
            until(lambda: rows(OTHERS) == [(0,)])  # those of processes that were killed end by themselves
            connections.close_all()


@pytest.fixture(scope="session")
def playwright(site, playwright):
    """While its event loop runs, Django keeps other connections than before and afterwards."""
    yield playwright
    connections.close_all()


@pytest.fixture(scope="session")
def base_url(site):
    return site.url


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    return {
        **browser_context_args,
        "viewport": {"width": 1360, "height": 850},
        "timezone_id": "Europe/Berlin",
        "locale": "en-GB",
        "reduced_motion": "reduce",
    }


@pytest.fixture(scope="session")
def sign_in(site):
    """Sign a person in, as people do."""

    def sign_in(page, name):
        page.goto("/accounts/login/")
        page.locator("input[name=login]").fill(name)
        page.locator("input[name=password]").fill(site.passwords[name])
        page.locator(
            "form:has(input[name=password]) button[type=submit], form:has(input[name=password]) button"
        ).first.click()
        page.wait_for_url(lambda url: "/accounts/" not in url)

    return sign_in


@pytest.fixture(scope="session")
def states(browser, browser_context_args, sign_in):
    """What a browser keeps of each person who has signed in."""
    found = {}

    def state(name):
        if name not in found:
            context = browser.new_context(**browser_context_args)
            sign_in(context.new_page(), name)
            found[name] = context.storage_state()
            context.close()
        return found[name]

    return state


@pytest.fixture
def troubles():
    """What pages complained of; a test that makes trouble says which is meant: `troubles.expected(…)`."""
    troubles = Troubles()
    yield troubles
    assert troubles.found == []


@pytest.fixture
def window(new_context, states, troubles):
    """A person's own window, signed in: `window("operator", color_scheme="dark")`. None is nobody."""

    def window(name, *, viewport=None, **options):
        state = {"storage_state": states(name)} if name else {}
        page = new_context(**state, **options).new_page()
        if viewport:
            page.set_viewport_size(viewport)
        page.set_default_timeout(PATIENCE_MS)
        troubles.watch(page)
        return page

    return window


@pytest.fixture
def phone(window):
    """The same on a phone."""

    def phone(name, **options):
        given = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, **options}
        return window(name, **given)

    return phone


@pytest.fixture(scope="session")
def client(site):
    """The API as a person: `client("operator").post("runs/", …)`."""
    made = {}

    def client(name):
        if name not in made:
            member = Member.objects.get(user__username=name)
            _, token = ApiToken.issue(member=member, name="e2e", scopes=[], expires_at=None, by=None)
            made[name] = Client(site, token)
        return made[name]

    yield client
    for one in made.values():
        one.close()


@pytest.fixture(scope="session")
def begin(client):
    """Start a run of a definition's slug; gives its id."""

    def begin(slug="kpi-tracking", given=None, by="operator"):
        given = given or ({"month": "2026-10"} if slug == "kpi-tracking" else {})
        return client(by).post("runs/", {"definition": slug, "input": given})["id"]

    return begin


@pytest.fixture(scope="session")
def waiting(begin, client):
    """A run of kpi-tracking that has asked its question; gives (run id, request)."""

    def waiting(**given):
        run = begin(**given)
        asked = until(lambda: client("approver").get(f"approvals/?run={run}&status=pending")["results"], 60)
        return run, asked[0]

    return waiting


@pytest.fixture(scope="session")
def ended():
    """Wait until a run has ended; gives it as it is then, after looking at all its rows."""

    def ended(run):
        found = until(lambda: Run.objects.filter(public_id=run, ended_at__isnull=False).first(), 60)
        return assert_sound(found.pk)

    return ended


@pytest.fixture(scope="session")
def decide(client):
    """Answer a request as the approver, by the API."""

    def decide(request, choice="continue", **more):
        return client("approver").post(
            f"approvals/{request['id']}/decision/", {"choice": choice, "digest": request["digest"], **more}
        )

    return decide


@pytest.fixture(scope="session")
def finish_one(waiting, decide, ended):
    """A run of kpi-tracking that was approved and has its report; gives its id."""

    def finish_one():
        run, request = waiting()
        decide(request)
        ended(run)
        return run

    return finish_one


@pytest.fixture(scope="session")
def tried(site, ended):
    """One call of an agent by who may try it, which has ended; gives the run's id."""

    def tried(slug, given):
        builder = Member.objects.get(user__username="builder")
        run = start_trial(agent=builder.organization.agents.get(slug=slug), given=given, by=builder, key="")
        ended(run.public_id)
        return run.public_id

    return tried


@pytest.fixture(scope="session")
def say(site):
    """Lines of one of a run's steps, written and hinted at as a worker does: texts, or (level, text)."""
    valkey = redis.Redis.from_url(site.valkey.url)

    def say(run, lines, key=1):
        pairs = [("info", line) if isinstance(line, str) else line for line in lines]
        count, pk = len(pairs), Run.objects.get(public_id=run).pk
        levels, texts = [level for level, _ in pairs], [text for _, text in pairs]
        rows(WRITE, [[pk] * count, [key] * count, [1] * count, [0.0] * count, levels, texts])
        valkey.publish(LOGGED, json.dumps([pk]))

    yield say
    valkey.close()


@pytest.fixture(scope="session")
def axe():
    """What axe-core finds on a page by the WCAG rules, a line for each rule."""
    source = (HERE / "vendor" / "axe.min.js").read_text()
    tags = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]

    def axe(page):
        page.evaluate(source)
        found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", tags)
        return [
            f"{one['id']}: {'; '.join(str(node['target'][0]) for node in one['nodes'][:5])}:"
            f" {one['nodes'][0].get('failureSummary', '').splitlines()[1:2]}"
            for one in found["violations"]
        ]

    return axe
