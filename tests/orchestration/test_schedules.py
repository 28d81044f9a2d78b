"""Schedules as they are written, and at the doors: the API, the command, the definition's page."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from accounts.clock import database_clock
from accounts.models import AuditEntry
from orchestration.engine.schedules import run_now
from orchestration.language import AgentFacts, compile_definition
from orchestration.models import Run, Schedule
from tests.factories import MemberFactory

DAILY = 'name: daily\nschedule: [{cron: "0 3 * * *", zone: Asia/Kathmandu}]\nsteps: {a: {agent: echo}}'
TAKES = "input: {type: object, required: [day], properties: {day: {type: string}}, additionalProperties: false}"


@pytest.fixture
def schedule(save):
    save(DAILY)
    return Schedule.objects.get()


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ('cron: "* * * *"', [(2, 19, "cron")]),
        ('cron: "0 0 31 2 *"', [(2, 19, "cron")]),
        ("cron: 5", [(2, 19, "shape")]),
        ("zone: UTC", [(2, 11, "missing-key")]),
        ('cron: "@daily", zone: Europe/Berln', [(2, 35, "zone")]),
        ('cron: "@daily", zone: /etc/passwd', [(2, 35, "zone")]),
        ('cron: "@daily", overlap: wait', [(2, 38, "shape")]),
        ('cron: "@daily", backfill: some', [(2, 39, "shape")]),
        ('cron: "@daily", jitter: soon', [(2, 37, "duration")]),
        ('cron: "*/5 * * * *", jitter: 5m', [(2, 42, "schedule")]),
        ('cron: "@daily", with: {day: "${{ input.day }}"}', [(2, 46, "unknown-name")]),
        ('cron: "@daily", with: {day: "${{ schedule.then }}"}', [(2, 55, "unknown-field")]),
        ('cron: "@daily", with: {dya: "${{ schedule.at }}"}', [(2, 35, "schedule"), (2, 35, "schedule")]),
        ('cron: "@daily", with: {day: 5}', [(2, 41, "schedule")]),
        ('cron: "@daily", when: now', [(2, 29, "unknown-key")]),
        ('cron: "@daily", with: {day: "${{ schedule.at }}"}', []),
    ],
)
def test_what_a_schedule_cannot_be_is_found_at_its_place(entry, found):
    given = "" if "with:" in entry else ", with: {day: any}"
    text = f"name: d\nschedule: [{{{entry}{given}}}]\n{TAKES}\nsteps: {{a: {{agent: echo}}}}"
    result = compile_definition(text, file="f.yaml", agents={"echo": AgentFacts("tool")}, policies=[])
    assert [(each.line, each.column, each.rule) for each in result.findings] == found


def test_a_schedule_whose_input_is_missing_is_found():
    text = f'name: d\nschedule: [{{cron: "@daily"}}]\n{TAKES}\nsteps: {{a: {{agent: echo}}}}'
    (found,) = compile_definition(text, file="f.yaml", agents={"echo": AgentFacts("tool")}, policies=[]).findings
    assert (found.rule, "day" in found.message) == ("schedule", True)


# --- the API


def test_the_api_lists_them_with_their_next_times_and_what_became_of_the_last(schedule, operator):
    (listed,) = operator.get("/api/v1/schedules/?definition=daily").json()["results"]
    assert (listed["cron"], listed["zone"], listed["overlap"]) == ("0 3 * * *", "Asia/Kathmandu", "skip")
    assert {datetime.fromisoformat(at).astimezone(UTC).strftime("%H:%M") for at in listed["following"]} == {"21:15"}
    run = operator.post(f"/api/v1/schedules/{listed['id']}/run/", {"reason": "A look"}, format="json")
    assert run.status_code == 201
    (fire,) = operator.get(f"/api/v1/schedules/{listed['id']}/").json()["fires"]
    assert (fire["run"], fire["why"]) == (run.json()["id"], None)


def test_the_api_pauses_and_resumes_and_says_who(schedule, operator, members):
    where = f"/api/v1/schedules/{schedule.public_id}"
    paused = operator.post(f"{where}/pause/", {"reason": "Holidays"}, format="json").json()
    assert (paused["paused_by"], paused["following"]) == (members.operator.name, [])
    assert operator.post(f"{where}/resume/", {"reason": "Back"}, format="json").json()["paused_at"] is None
    told = AuditEntry.objects.filter(target=schedule.public_id).order_by("pk")
    assert [(entry.action, entry.data["reason"]) for entry in told] == [
        ("schedule.pause", "Holidays"),
        ("schedule.resume", "Back"),
    ]


def test_the_api_makes_up_for_times_that_passed(schedule, operator):
    now = database_clock()
    given = {"after": now - timedelta(days=3), "upto": now, "reason": "They were missed"}
    made = operator.post(f"/api/v1/schedules/{schedule.public_id}/backfill/", given, format="json")
    assert (made.status_code, len(made.json()["results"])) == (201, 3)
    again = operator.post(f"/api/v1/schedules/{schedule.public_id}/backfill/", given, format="json")
    assert (again.status_code, Run.objects.count()) == (409, 3)


@pytest.mark.parametrize("what", ["pause", "resume", "run", "backfill"])
def test_without_the_role_a_reason_or_the_organization_nothing_is_done(schedule, operator, viewer, client_of, what):
    where = f"/api/v1/schedules/{schedule.public_id}/{what}/"
    stranger = client_of(MemberFactory(roles=["admin"]))
    assert viewer.post(where, {"reason": "x"}, format="json").status_code == 403
    assert stranger.post(where, {"reason": "x"}, format="json").status_code in (400, 404)
    assert operator.post(where, {"reason": " "}, format="json").status_code == 400
    schedule.refresh_from_db()
    assert (schedule.is_paused, Run.objects.count()) == (False, 0)


# --- the command


def command(*words):
    out = io.StringIO()
    call_command("schedules", *words, stdout=out)
    return out.getvalue().split()


def test_the_command_does_what_the_api_does(schedule):
    assert command("list", "--definition", "daily")[:2] == [schedule.public_id, "daily"]
    command("pause", schedule.public_id, "--reason", "Holidays")
    assert "paused" in command("list")
    command("resume", schedule.public_id, "--reason", "Back")
    (run,) = command("run", schedule.public_id, "--reason", "A look")
    assert Run.objects.get(public_id=run).schedule_id == schedule.pk
    now = database_clock()
    between = ("--after", (now - timedelta(days=2)).isoformat(), "--upto", now.isoformat())
    assert len(command("backfill", schedule.public_id, *between, "--reason", "Missed")) == 2
    with pytest.raises(CommandError, match="has its run already"):
        command("backfill", schedule.public_id, *between, "--reason", "Missed")
    with pytest.raises(CommandError, match="No schedule is called"):
        command("pause", "sch_none", "--reason", "x")


# --- the page


def test_the_page_of_a_definition_shows_them_and_operators_act_there(schedule, client, members):
    client.force_login(members.operator.user)
    page = client.get("/definitions/daily/").content.decode()
    assert "0 3 * * *" in page
    assert "Asia/Kathmandu" in page
    assert f'action="/schedules/{schedule.public_id}/pause/"' in page
    answer = client.post(f"/schedules/{schedule.public_id}/pause/", {"reason": "Holidays"}, follow=True)
    assert "Paused" in answer.content.decode()
    client.post(f"/schedules/{schedule.public_id}/resume/", {"reason": ""})
    assert Schedule.objects.get().is_paused  # nothing without a reason
    client.post(f"/schedules/{schedule.public_id}/resume/", {"reason": "Back"})
    client.post(f"/schedules/{schedule.public_id}/run/", {"reason": "A look"})
    assert (Schedule.objects.get().is_paused, Run.objects.get().schedule_id) == (False, schedule.pk)


def test_who_may_only_look_is_offered_nothing(schedule, client, members):
    client.force_login(members.viewer.user)
    assert "/pause/" not in client.get("/definitions/daily/").content.decode()
    assert client.post(f"/schedules/{schedule.public_id}/pause/", {"reason": "x"}).status_code == 403


def test_the_page_of_a_run_says_that_its_schedule_began_it(schedule, client, members):
    run = run_now(schedule, by=members.operator, reason="A look")
    client.force_login(members.viewer.user)
    for page in (f"/runs/{run.public_id}/", "/runs/"):
        assert "<bdi>its schedule</bdi>" in client.get(page).content.decode()
