"""Schedules: what a definition says, when it begins what, and what is made up."""

from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction

from accounts.clock import database_clock
from accounts.models import AuditEntry
from orchestration.engine.connection import decoded, rows
from orchestration.engine.schedules import backfill, run_now, start_due
from orchestration.engine.sweeper import SWEEP
from orchestration.exceptions import NoSuchTimes
from orchestration.models import Run, Schedule, ScheduleFire
from tests.harness import make_worker, race


def text(*entries, steps="  a: {agent: echo, with: {value: 1}}"):
    return f"name: planned\nschedule: [{', '.join(entries)}]\nsteps:\n{steps}\n"


@pytest.fixture
def daily(save, committed):
    """A schedule of one time a day, half an hour ago; so many days have passed since anybody was at work."""

    def daily(days=1, **more):
        at = (database_clock() - timedelta(minutes=30)).astimezone(ZoneInfo(more.get("zone", "UTC")))
        said = "".join(f", {name}: {value}" for name, value in more.items())
        save(text(f'{{cron: "{at.minute} {at.hour} * * *"{said}}}'))
        Schedule.objects.update(last_at=at - timedelta(days=days, minutes=-1), next_at=at)
        return Schedule.objects.get()

    return daily


def begun(schedule):
    return list(Run.objects.filter(schedule_id=schedule.pk).order_by("pk"))


def end(*runs):
    for run in runs:
        rows(
            "update orchestration_run set status = 'canceled', ended_at = now(), open_steps = 0, moving_steps = 0"
            " where id = %s",
            [run.pk],
        )
        rows("update orchestration_step set status = 'canceled' where run_id = %s", [run.pk])


def test_a_time_that_has_come_begins_one_run_with_the_input_of_the_schedule(daily):
    schedule = daily(zone="Asia/Kathmandu")
    Schedule.objects.update(given={"at": "${{ schedule.at }}", "last": "${{ schedule.last }}"})
    assert start_due() == 1
    planned = schedule.times.after(schedule.last_at)
    (run,) = begun(schedule)
    local = planned.astimezone(schedule.times.zone).isoformat(timespec="seconds")
    assert (run.planned_at, run.started_by, run.input) == (planned, None, {"at": local, "last": None})
    assert ScheduleFire.objects.get().run_id == run.pk
    assert start_due() == 0
    schedule.refresh_from_db()
    assert (schedule.last_at, schedule.next_at) == (planned, schedule.times.after(planned))


@pytest.mark.parametrize(("made_up", "runs", "told"), [("last", 1, 1), ("none", 0, 2), ("all", 7, 0)])
def test_a_week_in_which_nobody_was_at_work_is_made_up_as_the_schedule_says(daily, made_up, runs, told):
    schedule = daily(days=7, backfill=made_up, overlap="allow")
    while start_due():
        pass
    planned = [run.planned_at for run in begun(schedule)]
    assert len(planned) == runs
    assert planned == sorted(planned)
    assert ScheduleFire.objects.filter(run_id=None).count() == told
    schedule.refresh_from_db()
    assert schedule.next_at > database_clock()


def test_no_more_times_are_made_up_than_the_setting_allows(daily, settings):
    settings.SCHEDULE_MOST_MISSED = 3
    schedule = daily(days=7, backfill="all", overlap="allow")
    while start_due():
        pass
    planned = [run.planned_at for run in begun(schedule)]
    assert [later - earlier for earlier, later in pairwise(planned)] == [timedelta(days=1)] * 2
    assert planned[-1] == Schedule.objects.get().last_at


@pytest.mark.parametrize(
    ("overlap", "statuses", "why"),
    [
        ("skip", ["running"], "was still open"),
        ("queue", ["running"], None),
        ("allow", ["running", "running"], None),
        ("cancel_oldest", ["canceled", "running"], None),
    ],
)
def test_a_time_that_comes_while_a_run_is_open(daily, overlap, statuses, why):
    schedule = daily(days=2, backfill="all", overlap=overlap)
    while start_due():
        pass
    assert [run.status for run in begun(schedule)] == statuses
    said = list(ScheduleFire.objects.filter(run_id=None).values_list("why", flat=True))
    assert [why in each for each in said] == ([True] if why else [])


def test_one_run_waits_for_the_end_of_the_one_before_and_those_after_it_are_passed_over(daily):
    schedule = daily(days=3, backfill="all", overlap="queue")
    while start_due():
        pass
    (first,) = begun(schedule)
    schedule.refresh_from_db()
    assert schedule.queued_at == first.planned_at + timedelta(days=1)
    assert "still waiting" in ScheduleFire.objects.get(run_id=None).why
    end(first)
    Schedule.objects.update(next_at=database_clock())
    assert start_due() == 1
    assert [run.planned_at for run in begun(schedule)] == [first.planned_at, schedule.queued_at]
    assert Schedule.objects.get().queued_at is None


def test_two_sweepers_begin_each_time_once(daily, settings):
    settings.SCHEDULE_MOST_MISSED = 1_000
    schedule = daily(days=250, backfill="all", overlap="allow")
    race(200, lambda _: start_due(), lambda _: start_due())
    while start_due():
        pass
    planned = [run.planned_at for run in begun(schedule)]
    assert len(planned) == len(set(planned)) == 250
    assert set(planned) == set(ScheduleFire.objects.values_list("planned_at", flat=True))


def test_an_input_that_the_definition_refuses_begins_nothing_and_is_told(daily, save):
    schedule = daily()
    Schedule.objects.update(given="${{ schedule.last.size() }}")
    assert start_due() == 1
    assert begun(schedule) == []
    assert ScheduleFire.objects.get().why


def test_a_pause_survives_a_new_version_and_what_passed_meanwhile_is_not_made_up(daily, save, members):
    schedule = daily(days=5, backfill="all")
    schedule.pause(by=members.operator, reason="Holidays")
    save(text(f'{{cron: "{schedule.cron}", with: {{more: 1}}}}'))
    schedule.refresh_from_db()
    assert (schedule.is_paused, schedule.given, start_due()) == (True, {"more": 1}, 0)
    schedule.resume(by=members.operator, reason="Back")
    schedule.refresh_from_db()
    assert (schedule.is_paused, start_due(), begun(schedule)) == (False, 0, [])
    assert schedule.next_at > database_clock()
    assert [entry.action for entry in AuditEntry.objects.filter(target=schedule.public_id).order_by("pk")] == [
        "schedule.pause",
        "schedule.resume",
    ]


def test_schedules_are_those_of_the_current_version(save, committed):
    save(text('{cron: "@daily"}', '{cron: "@daily", with: {a: 1}}', '{cron: "@hourly"}'))
    first = {(row.cron, row.nth): row.pk for row in Schedule.objects.all()}
    assert set(first) == {("@daily", 0), ("@daily", 1), ("@hourly", 0)}
    save(text('{cron: "@hourly"}', '{cron: "@weekly"}'))
    kept = {(row.cron, row.nth): (row.pk, row.place) for row in Schedule.objects.filter(dropped_at=None)}
    assert kept[("@hourly", 0)] == (first[("@hourly", 0)], 0)
    assert set(kept) == {("@hourly", 0), ("@weekly", 0)}
    save(text('{cron: "@daily"}'))
    (again,) = Schedule.objects.filter(dropped_at=None)
    assert (again.pk, again.next_at > database_clock()) == (first[("@daily", 0)], True)


def test_jitter_is_the_same_for_everyone_and_shorter_than_it_says(save, committed):
    save(text('{cron: "@daily", jitter: 1h}'))
    schedule = Schedule.objects.get()
    planned = schedule.following
    late = [schedule.begins_at(at) - at for at in planned]
    assert late == [Schedule.objects.get().begins_at(at) - at for at in planned]
    assert all(timedelta() <= each < timedelta(hours=1) for each in late)
    assert schedule.next_at == schedule.begins_at(planned[0])


def test_by_hand_a_run_begins_at_once_and_times_that_passed_are_made_up_once(daily, members):
    schedule = daily(days=3, backfill="none")
    now = database_clock()
    run = run_now(schedule, by=members.operator, reason="A look")
    made = backfill(schedule, now - timedelta(days=3), now, by=members.operator, reason="They were missed")
    assert [each.schedule_id for each in (run, *made)] == [schedule.pk] * 4
    with pytest.raises(NoSuchTimes, match="has its run already"):
        backfill(schedule, now - timedelta(days=3), now, by=members.operator, reason="Again")
    with pytest.raises(NoSuchTimes, match="still to come"):
        backfill(schedule, now, now + timedelta(days=3), by=members.operator, reason="")
    with pytest.raises(NoSuchTimes, match="SCHEDULE_MOST_MISSED"):
        backfill(schedule, now - timedelta(days=300), now, by=members.operator, reason="")


def test_a_thousand_schedules_cost_a_sweep_one_row(save, committed):
    save(text(*[f'{{cron: "0 0 1 1 *", with: {{n: {n}}}}}' for n in range(50)]))
    row = Schedule.objects.first()
    Schedule.objects.bulk_create(
        Schedule(
            **{
                **{f.attname: getattr(row, f.attname) for f in Schedule._meta.fields},
                "id": None,
                "public_id": f"s{n}",
                "nth": n,
            }
        )
        for n in range(50, 1_050)
    )
    rows("analyze orchestration_schedule")
    read = (
        "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_xact_user_tables"
        " where relname = 'orchestration_schedule'"
    )
    with transaction.atomic():
        ((before,),) = rows(read)
        ((found,),) = rows(SWEEP, [make_worker(), 0, 3, []])
        assert decoded(found)["schedule"] > 0
        ((after,),) = rows(read)
    assert after - before <= 1
