"""A definition is deleted for good: only when nothing goes by it, after it was said what goes with it."""

import re
import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.urls import reverse

from accounts.models import AuditEntry
from orchestration.engine import schedules
from orchestration.engine.connection import rows
from orchestration.engine.levers import keeping
from orchestration.engine.levers.dropping import drop, drop_of
from orchestration.engine.plans import plan_of
from orchestration.engine.starts import start, start_version
from orchestration.exceptions import DefinitionGone, NoSuchTimes, Refused, UnknownDefinition
from orchestration.models import Definition, DefinitionVersion, Run, Schedule, ScheduleFire
from tests.factories import MemberFactory
from tests.harness import claim, end, make_worker, race, use_own_connection

ONE = "name: one\nsteps: {a: {agent: echo}}\n"
DAILY = 'name: one\nschedule: [{cron: "0 3 * * *", zone: UTC}]\nsteps: {a: {agent: echo}}\n'
OTHER = "name: other\nsteps: {s: {run: one}}\n"


@pytest.fixture
def archived(save):
    """With two versions and a schedule; nothing goes by it."""
    save(ONE)
    found = save(DAILY).definition
    schedule = Schedule.objects.get()
    ScheduleFire.objects.create(schedule=schedule, planned_at=schedule.next_at, why="x")
    found.archive(by=None, reason="old")
    return Definition.objects.get(pk=found.pk)


TAKES = {"versions": 2, "schedules": 1, "times of schedules that had their turn": 1}


def gone():
    return [model.objects.count() for model in (Definition, DefinitionVersion, Schedule, ScheduleFire)] == [0] * 4


def by_api(client_of, client, member, reason):
    api = client_of(member)
    seen = api.get("/api/v1/definitions/one/deletion/").json()
    assert (seen["takes"], seen["refusals"]) == (TAKES, [])
    given = {"reason": reason, "digest": seen["digest"]}
    return api.post("/api/v1/definitions/one/delete/", given, format="json").status_code == 204


def by_page(client_of, client, member, reason):
    client.force_login(member.user)
    assert 'href="/definitions/one/delete/"' in client.get("/definitions/one/").content.decode()
    page = client.get("/definitions/one/delete/").content.decode()
    assert all(f"{what.capitalize()}: {count}." in page for what, count in TAKES.items())
    digest = re.search(r'name="digest" value="(\w+)"', page)[1]
    return client.post("/definitions/one/delete/", {"reason": reason, "digest": digest}).status_code == 302


def by_command(client_of, client, member, reason):
    def command(*words):
        out = StringIO()
        place = ["--organization", member.organization.slug]
        call_command("definitions", "delete", "one", "--reason", reason, *place, *words, stdout=out)
        return out.getvalue()

    try:
        digest = command().split()[-1]
        command("--yes", digest)
    except CommandError:
        return False
    return True


@pytest.mark.parametrize("door", [by_api, by_page, by_command], ids=lambda door: door.__name__)
def test_each_door_says_what_goes_and_deletes_it_with_a_reason(client_of, client, members, archived, save, door):
    assert door(client_of, client, members.admin, " ") is False
    assert not gone()
    assert door(client_of, client, members.admin, "never used") is True
    assert gone()
    entry = AuditEntry.objects.get(action="definition.delete")
    assert (entry.target, entry.data["reason"], entry.data["takes"]) == ("one", "never used", TAKES)
    assert entry.actor == (None if door is by_command else members.admin)
    assert save(ONE).number == 1


def test_who_may_and_what_was_not_shown(client_of, client, members, archived, save):
    digest = drop_of(archived).digest
    given = {"reason": "so", "digest": digest}
    url = reverse("definition-delete", args=["one"])
    assert client_of(members.builder).post(url, given, format="json").status_code == 403
    stranger = MemberFactory(roles=["admin"])
    assert client_of(stranger).post(url, given, format="json").status_code == 404
    assert client_of(stranger).get(reverse("definition-deletion", args=["one"])).status_code == 404
    client.force_login(members.builder.user)
    assert client.get("/definitions/one/delete/").status_code == 403
    assert "/definitions/one/delete/" not in client.get("/definitions/one/").content.decode()
    save(ONE + "output: 1\n")
    stale = client_of(members.admin).post(url, given, format="json")
    assert (stale.status_code, "look at it again" in stale.json()["detail"]) == (409, True)
    client.force_login(members.admin.user)
    page = client.post("/definitions/one/delete/", given)
    assert (page.status_code, "look at it again" in page.content.decode()) == (409, True)
    assert DefinitionVersion.objects.count() == 3
    digest = drop_of(archived).digest
    drop(archived, by=None, reason="so", digest=digest)
    with pytest.raises(Refused, match="one is not here any more"):
        drop(archived, by=None, reason="so", digest=digest)


def refused(definition):
    """In words why; and nothing changed."""
    found = drop_of(definition)
    before = Definition.objects.count(), DefinitionVersion.objects.count()
    with pytest.raises(Refused) as raised:
        drop(definition, by=None, reason="so", digest=found.digest)
    assert str(raised.value) == " ".join(found.refusals)
    assert (Definition.objects.count(), DefinitionVersion.objects.count()) == before
    return found.refusals


def test_what_is_not_archived_or_has_runs_stays(begin, organization, members):
    run = begin(ONE)
    definition = run.definition_version.definition
    again = start(organization=organization, definition="one", given={}, by=members.operator)
    assert refused(definition) == [
        "one is not archived; archive it first.",
        f"2 runs of it go on: {run.public_id}, {again.public_id}.",
    ]
    definition.archive(by=None, reason="x")
    definition.refresh_from_db()
    worker = make_worker()
    for place in claim(worker, 9):
        end(worker, place, "completed")
    assert refused(definition) == [
        "2 runs of it that ended are kept; it can go when they are deleted, or past their time."
    ]
    for each in (run, again):
        keeping.delete(each, by=None, reason="x", digest=keeping.deletion_of(each).digest)
    drop(definition, by=None, reason="x", digest=drop_of(definition).digest)
    assert not Definition.objects.exists()


def test_what_others_run_stays_and_they_are_named(save, save_agent, begin, archived, client, members, organization):
    archived.restore(by=None, reason="x")
    run = begin(OTHER)
    save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["one"]}, description="d")
    archived.archive(by=None, reason="x")
    archived.refresh_from_db()
    assert refused(archived) == [
        "Definition other has a step that runs it.",
        f"A run goes on with a step that runs it: {run.public_id}.",
        "Agent boss may start it.",
    ]
    client.force_login(members.admin.user)
    page = client.get("/definitions/one/delete/").content.decode()
    assert ("Definition other has a step that runs it." in page, "Delete it for good" in page) == (True, False)
    save("name: other\nsteps: {s: {agent: echo}}\n")
    assert refused(archived) == [
        f"A run goes on with a step that runs it: {run.public_id}.",
        "Agent boss may start it.",
    ]
    other = Definition.objects.get(slug="other")
    other.roll_out(by=None, reason="x", percent=50, rest=1)
    assert refused(archived)[0] == "Definition other has a step that runs it."


def test_an_archived_definition_that_runs_it_is_told_and_does_not_hold_it(save, archived):
    archived.restore(by=None, reason="x")
    other = save(OTHER).definition
    for each in (archived, other):
        each.archive(by=None, reason="x")
    archived.refresh_from_db()
    found = drop_of(archived)
    told = "Definition other has a step that runs it. While archived it does not hold it; restored, it fails."
    assert (found.refusals, found.notes) == ([], [told])
    drop(archived, by=None, reason="x", digest=found.digest)
    assert [each.slug for each in Definition.objects.all()] == ["other"]


def test_what_had_looked_before_the_deletion_is_told_that_it_is_gone(archived, organization, members):
    schedule = Schedule.objects.get()
    version = archived.current_version_id
    drop(archived, by=None, reason="x", digest=drop_of(archived).digest)
    with pytest.raises(DefinitionGone, match="deleted meanwhile"):
        start_version(version, organization.pk, {}, by=members.operator.pk)
    with pytest.raises(NoSuchTimes, match="deleted meanwhile"):
        schedules.run_now(schedule, by=None, reason="x")
    assert Run.objects.count() == 0


ROUNDS = 120


def test_a_start_and_a_deletion_at_the_same_moment_never_leave_a_run_without_its_definition(
    committed, save, organization, members
):
    """The start has looked already, when the definition was not archived yet, and knows its plan."""
    versions = [save(f"name: d{number}\nsteps: {{a: {{agent: echo}}}}\n") for number in range(ROUNDS)]
    for version in versions:
        plan_of(version.pk)
        version.definition.archive(by=None, reason="x")
    definitions = list(Definition.objects.order_by("pk"))
    digests = [drop_of(definition).digest for definition in definitions]

    def begin(number):
        for _ in range(3 * (number % 12)):  # each round at another moment of the deletion
            Definition.objects.filter(pk=0).exists()
        try:
            return start_version(versions[number].pk, organization.pk, {}, by=members.operator.pk)
        except DefinitionGone:
            return None

    def delete(number):
        try:
            drop(definitions[number], by=None, reason="x", digest=digests[number])
        except Refused:
            return False
        return True

    gave = race(ROUNDS, begin, delete)
    assert {(run is None, was_deleted) for run, was_deleted in gave} == {(True, True), (False, False)}
    known = set(DefinitionVersion.objects.values_list("pk", flat=True))
    assert set(Run.objects.values_list("definition_version_id", flat=True)) == known
    assert len(known) == sum(not was_deleted for _, was_deleted in gave)


def test_a_start_by_name_and_a_deletion_at_the_same_moment(committed, save, organization, members):
    definitions = [save(f"name: d{number}\nsteps: {{a: {{agent: echo}}}}\n").definition for number in range(ROUNDS)]

    def begin(number):
        try:
            return start(organization=organization, definition=f"d{number}", given={}, by=members.operator)
        except (Refused, DefinitionGone, UnknownDefinition):
            return None

    def delete(number):
        definitions[number].archive(by=None, reason="x")
        found = Definition.objects.get(pk=definitions[number].pk)
        try:
            drop(found, by=None, reason="x", digest=drop_of(found).digest)
        except Refused:
            return False
        return True

    gave = race(ROUNDS, begin, delete)
    assert all((run is None) == was_deleted for run, was_deleted in gave)
    known = set(DefinitionVersion.objects.values_list("pk", flat=True))
    assert set(Run.objects.values_list("definition_version_id", flat=True)) <= known


def test_where_runs_are_worked_on_all_the_time_it_gives_up_and_changes_nothing(committed, save):
    definition = save(ONE).definition
    definition.archive(by=None, reason="x")
    definition.refresh_from_db()
    held, over = threading.Event(), threading.Event()

    def hold():
        use_own_connection()
        with transaction.atomic():
            rows("lock table orchestration_run in row exclusive mode")
            held.set()
            over.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        with pytest.raises(Refused, match="try again in a moment"):
            drop(definition, by=None, reason="x", digest=drop_of(definition).digest)
    finally:
        over.set()
        thread.join(30)
    assert Definition.objects.get().current_version is not None
    drop(definition, by=None, reason="x", digest=drop_of(definition).digest)
    assert gone()
