"""Lists on open pages: what is there changes where it is, what came is told."""

import re
from html import unescape

import pytest

from orchestration.engine.connection import rows
from orchestration.models import Deliverable
from tests.factories import PolicyFactory, ask

TEXT = "name: greet\nsteps:\n  hello: {agent: echo}\n"


@pytest.fixture
def viewer(client, members, agents):
    client.force_login(members.viewer.user)
    return client


def part_of(client, path):
    return unescape(re.search(r'data-part="([^"]*)"', client.get(path).content.decode())[1])


def told(client, part):
    """(how many are new, ids of the rows that are drawn anew)."""
    page = client.get(part, headers={"HX-Request": "true"}).content.decode()
    new = re.search(r"</span>(\d+) new</a>", page)
    return int(new[1]) if new else 0, set(re.findall(r'<tr class="row-link" id="([\w-]+)"', page))


@pytest.fixture
def add(begin, save, save_agent):
    """Add a row to the list at this path; gives its id on the page."""

    def add(path, number):
        if path == "/deliverables/":
            words = {"key": 1, "name": "report", "title": "Report", "version": 1, "content": ""}
            return Deliverable.objects.create(public_id=f"dlv_{number}", run=begin(TEXT), **words).public_id
        if path == "/definitions/":
            return f"definition-{save(TEXT.replace('greet', f'greet-{number}')).definition_id}"
        version = save_agent(name=f"new-{number}", kind="tool", configuration={"tool": "echo"})
        return f"agent-{version.agent_id}"

    return add


@pytest.mark.parametrize("path", ["/deliverables/", "/definitions/", "/agents/"])
def test_what_came_is_told_and_what_is_there_is_drawn_anew(viewer, add, path):
    first = add(path, 1)
    part = part_of(viewer, path)
    new, drawn = told(viewer, part)
    assert new == 0
    assert first in drawn
    second = add(path, 2)
    assert told(viewer, part) == (1, drawn)
    assert second not in drawn
    assert second in told(viewer, part_of(viewer, path))[1]


def test_the_relatives_of_a_run_are_kept_true(viewer, begin, organization, members):
    run = begin(TEXT)
    policy = PolicyFactory(organization=organization)
    asked = ask(policy, subject="first", context={"run": run.public_id, "step": "check"})
    path = f"/runs/{run.public_id}/related/"
    assert 'data-topic="organization"' in viewer.get(path).content.decode()
    part = part_of(viewer, path)
    assert told(viewer, part) == (0, {asked.public_id})
    asked.decide(by=members.admin, choice="continue", digest=asked.digest)
    ask(policy, subject="second", context={"run": run.public_id, "step": "check"})
    rows("update orchestration_step set usage = '{\"simulated\": true}' where run_id = %s and key = 1", [run.pk])
    Deliverable.objects.create(public_id="dlv_1", run=run, key=1, name="report", title="R", version=1, content="")
    assert told(viewer, part) == (2, {asked.public_id})
    page = viewer.get(part)
    assert f"continue by <bdi>{members.admin.name}</bdi>" in page.content.decode()
    assert "X-Seq" not in page.headers
    assert "A stand-in made this" in viewer.get(path).content.decode()
