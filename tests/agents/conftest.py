"""The simulators as a process of their own, and the KPI schema with its reading role in the test database."""

import re
import subprocess
import sys
from dataclasses import replace

import httpx2
import pytest

from accounts.models import Organization
from agents.calls import Call
from agents.gateways import database
from simulators.kpi import seed_kpi


@pytest.fixture(scope="session")
def simulators_url():
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", "--port", "0"], stdout=subprocess.PIPE, text=True, cwd="."
    )
    url = re.search(r"http://\S+", process.stdout.readline())[0]
    yield url
    process.terminate()
    process.wait(timeout=10)
    process.stdout.close()


@pytest.fixture
def provider(simulators_url, settings):
    """The model provider, fresh, and the settings that lead to it."""
    settings.OPENAI_BASE_URL = f"{simulators_url}/v1"
    settings.OPENAI_API_KEY = "any"
    settings.OPENAI_MODEL = "gpt-5-mini"
    with httpx2.Client(base_url=simulators_url, timeout=10) as client:
        client.post("/_control", json={"reset": True}).raise_for_status()
        yield client


@pytest.fixture
def organization(db):
    return Organization.objects.create(slug="acme", name="Acme")


@pytest.fixture
def kpi_database(transactional_db):
    seed_kpi()
    yield
    database.close_pools()


@pytest.fixture
def call():
    """Make a call with the given fields changed."""
    plain = Call(
        input={},
        configuration={},
        attempt=1,
        idempotency_key="step-1",
        deadline_seconds=10.0,
        canceled=lambda: False,
    )
    return lambda **fields: replace(plain, **fields)
