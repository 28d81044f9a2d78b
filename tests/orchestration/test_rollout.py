"""A share of new runs begins with the newest version; a run is begun again on its own version or the newest."""

from collections import Counter
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.models import AuditEntry
from orchestration.engine import schedules
from orchestration.engine.starts import start_many
from orchestration.exceptions import InvalidInput
from orchestration.models import Definition, Run, Schedule
from orchestration.models.definitions import share_of

OLD = "name: d\nsteps: {a: {agent: echo}}\n"
NEW = "name: d\ninput: {required: [n]}\nsteps: {a: {agent: echo}, b: {agent: echo}}\n"
IDS = [f"run_{number}" for number in range(1_000)]


@pytest.fixture
def definition(save):
    old = save(OLD)
    new = save(NEW)
    return old.definition.__class__.objects.get(pk=new.definition_id)


def test_thirty_of_a_hundred_runs_begin_with_the_newest(definition):
    assert {definition.version_for(run) for run in IDS} == {definition.current_version_id}
    definition.roll_out(by=None, reason="careful", percent=30, rest=1)
    definition.refresh_from_db()
    chosen = Counter(definition.version_for(run) for run in IDS)
    assert chosen == {definition.current_version_id: 288, definition.rollout_version_id: 712}
    assert max(Counter(map(share_of, IDS)).values()) < 25  # no share has more than its part


@pytest.mark.parametrize(("percent", "number"), [(0, 1), (100, 2)])
def test_all_or_none(definition, organization, members, percent, number):
    definition.roll_out(by=None, reason="so", percent=percent, rest=1)
    runs = start_many(
        organization=organization, definition="d", inputs=[{"n": n} for n in range(5)], by=members.operator
    )
    assert {run.definition_version.number for run in Run.objects.filter(pk__in=runs)} == {number}


def test_runs_begun_together_are_in_the_order_of_their_inputs_and_all_or_none(definition, organization, members):
    definition.roll_out(by=None, reason="so", percent=50, rest=1)

    def begin(inputs):
        return start_many(organization=organization, definition="d", inputs=inputs, by=members.operator)

    begun = begin([{"n": n} for n in range(64)])
    runs = Run.objects.in_bulk(begun)
    assert [runs[run].input["n"] for run in begun] == list(range(64))
    assert all(
        run.definition_version_id == Definition.objects.get().version_for(run.public_id) for run in runs.values()
    )
    with pytest.raises(InvalidInput):  # the newest wants `n`; that all 64 are held back will not happen in this world
        begin([{}] * 64)
    assert Run.objects.count() == 64


def test_schedules_and_steps_obey_it(engine, definition, save, begin, finished):
    definition.roll_out(by=None, reason="so", percent=0, rest=1)
    save("name: timed\nsteps: {a: {agent: echo}}\nschedule: [{cron: '0 8 * * *', zone: UTC}]\n")
    save("name: timed\nsteps: {a: {agent: echo}, b: {agent: echo}}\nschedule: [{cron: '0 8 * * *', zone: UTC}]\n")
    Definition.objects.get(slug="timed").roll_out(by=None, reason="so", percent=0, rest=1)
    assert schedules.run_now(Schedule.objects.get(), by=None, reason="x").definition_version.number == 1
    run = finished(begin("  s: {run: d, with: {n: 1}}\n  t: {run: {definition: d, version: 2}, with: {n: 1}}\n"))
    children = Run.objects.filter(parent_run_id=run.pk).order_by("parent_key")
    assert [child.definition_version.number for child in children] == [1, 2]


def test_a_builder_sets_it_and_it_is_refused_in_words(definition, operator, client_of, members, client, organization):
    builder = client_of(members.builder)
    url = reverse("definition-rollout", args=["d"])

    def post(**given):
        return builder.post(url, {"reason": "so", **given}, format="json")

    assert operator.post(url, {"reason": "so", "percent": 5, "rest": 1}, format="json").status_code == 403
    for given in ({"percent": 5, "rest": 2}, {"percent": 5}, {"percent": 101, "rest": 1}, {"percent": 5, "rest": 7}):
        assert post(**given).status_code == 400
    assert post(percent=5, rest=1).json()["rollout"] == {"percent": 5, "rest": 1}
    client.force_login(members.builder.user)
    assert "5 % of new runs begin with the newest version, 2, the others with version 1." in (
        client.get("/definitions/d/").content.decode()
    )
    client.post("/definitions/d/rollout/", {"percent": "100", "rest": "1", "reason": "good"})
    assert builder.get(reverse("definition", args=["d"])).json()["rollout"] is None
    given = {"organization": organization.slug, "reason": "careful", "stdout": StringIO()}
    call_command("definitions", "rollout", "d", percent=40, rest=1, **given)
    with pytest.raises(CommandError, match="no older version 9"):
        call_command("definitions", "rollout", "d", percent=40, rest=9, **given)
    assert [
        entry.data["percent"] for entry in AuditEntry.objects.filter(action="definition.roll_out").order_by("pk")
    ] == [
        5,
        100,
        40,
    ]


def test_a_run_is_begun_again_on_its_own_version_or_the_newest(definition, operator, client, members):
    def post(**given):
        return operator.post(reverse("runs"), {"definition": "d", "input": {}, **given}, format="json")

    assert post().status_code == 400  # the newest wants `n`
    old = post(version=1).json()
    assert old["definition"] == {"slug": "d", "version": 1}
    assert post(version=3).json()["errors"][0]["pointer"] == "/version"
    client.force_login(members.operator.user)
    page = client.get(f"/runs/new/d/?from={old['id']}").content.decode()
    assert f'href="?from={old["id"]}&amp;version=1"' in page
    page = client.get(f"/runs/new/d/?from={old['id']}&version=1").content.decode()
    assert "as that run did" in page
    answer = client.post("/runs/new/d/?version=1", {"key": "k", "as": "raw", "raw": "{}"})
    assert answer.status_code == 302
    assert Run.objects.latest("pk").definition_version.number == 1
