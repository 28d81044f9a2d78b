"""Steps that wait for a time, or for an event from outside; and what else may happen at the same moment."""

import pytest
from django.db import connection

from orchestration.engine import answers, mail
from orchestration.engine.connection import rows
from orchestration.models import Deliverable, Event, EventWait, OutsideEvent, Step
from orchestration.testkit.worker import Worker
from tests.harness import assert_sound, until
from tests.orchestration.engine.looks import statuses, step

PAID = "invoice.paid"


@pytest.fixture
def deliver(organization):
    def deliver(name=PAID, key="", data=None, sender_id=None, **more):
        return mail.deliver(organization=organization, name=name, key=key, data=data, sender_id=sender_id, by=None)[0]

    return deliver


def waiting(run, name="w"):
    return until(lambda: Step.objects.filter(run_id=run.pk, name=name, status="waiting").first())


def is_open():
    return EventWait.objects.exists()


# --- times


@pytest.mark.parametrize(
    ("wait", "given"),
    [
        ("{for: 50ms}", {}),
        ('{for: "${{ input.so }}"}', {"so": "0s"}),
        ('{until: "2026-01-01T09:00+01:00"}', {}),
        ('{until: "${{ input.due }}"}', {"due": "2020-12-31T23:59:59.5Z"}),
        ("{any: [{for: 1d}, {for: 20ms}]}", {}),
        ('{any: [{for: 1d}, {until: "2026-01-01T09:00+01:00"}]}', {}),
        ('{any: [{until: "2999-01-01T09:00+01:00"}, {for: 20ms}]}', {}),
    ],
)
def test_a_wait_for_a_time_ends_by_itself_and_gives_nothing(begin, engine, finished, wait, given):
    run = begin(f"  w: {{wait: {wait}}}\n  b: {{agent: echo, needs: [w], with: {{value: done}}}}\n", given)
    engine.look()
    run = finished(run)
    assert (run.status, statuses(run)) == ("completed", {"w": "completed", "b": "completed"})
    assert step(run, "w").output is None
    assert step(run, "w").attempt == 1
    assert_sound(run.pk)


def test_a_wait_holds_until_its_time(begin, engine):
    run = begin('  w: {wait: {until: "2999-01-01T09:00+01:00"}}\n')
    engine.look()
    found = waiting(run)
    assert (found.waits_for, found.wake_at.isoformat()) == ("time", "2999-01-01T08:00:00+00:00")
    assert found.input == {"until": "2999-01-01T09:00+01:00"}
    run.refresh_from_db()
    assert run.status == "waiting"
    assert_sound(run.pk)


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        ('{for: "${{ input.so }}"}', "no duration"),
        ('{until: "${{ input.so }}"}', "no time"),
        ('{event: e, key: "${{ input.long }}"}', "at most 200"),
        ('{event: "${{ input.gone }}"}', "no field"),
    ],
)
def test_what_a_template_gives_and_is_no_time_fails_the_step(begin, engine, finished, wait, words):
    run = begin(f"  w: {{wait: {wait}}}\n", {"so": "soon", "long": "x" * 201})
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "expression")
    assert words in run.error["message"]


@pytest.mark.parametrize("wait", ["{for: 1ms}", "{event: invoice.paid}"])
def test_a_waits_deliverable_is_made_when_it_ends(begin, engine, finished, deliver, wait):
    made = '{name: note, title: t, content: "It was ${{ output }}."}'
    run = begin(f"  w: {{wait: {wait}, deliverable: {made}}}\n")
    deliver(data=7)
    engine.look()
    run = finished(run)
    assert run.status == "completed"
    expected = "null" if "for" in wait else "7"
    assert Deliverable.objects.get(run_id=run.pk).content == f"It was {expected}."
    assert step(run, "w").attempt == 1
    assert_sound(run.pk)


# --- events


@pytest.mark.parametrize("data", [None, {"amount": 5}, "x" * 10_000, [1.5, True]])
def test_an_event_that_comes_later_ends_the_wait_with_its_data(begin, engine, finished, deliver, data):
    run = begin(
        '  w: {wait: {event: invoice.paid, key: "${{ input.n }}"}}\noutput: "${{ steps.w.output }}"\n', {"n": 7}
    )
    engine.look()
    assert waiting(run).waits_for == "event"
    deliver(key="8", data="another")
    event = deliver(key="7", data=data)
    run = finished(run)
    assert run.status == "completed"
    assert step(run, "w").event_id == event.pk
    assert (run.output if run.output_digest is None else data) == data
    assert not is_open()
    assert Event.objects.get(run_id=run.pk, type="step.completed").data["event"] == event.public_id
    assert_sound(run.pk)


def test_an_event_that_came_first_is_not_lost(begin, engine_later, finished, deliver):
    run = begin("  w: {wait: {event: invoice.paid, key: a}}\n")
    first = deliver(key="a", data=1)
    deliver(key="a", data=2)
    until(lambda: mail.match() == 0 and not OutsideEvent.objects.filter(matched_at=None).exists())
    engine_later()
    run = finished(run)
    assert (step(run, "w").output, step(run, "w").event_id) == (1, first.pk)


def test_what_came_before_the_run_or_too_long_ago_is_not_for_it(begin, engine_later, deliver):
    early = deliver(key="a")
    run = begin("  w: {wait: {event: invoice.paid, key: a}}\n")
    late = deliver(key="a")
    rows("update orchestration_run set created_at = created_at - interval '3 days' where id = %s", [run.pk])
    sooner = "update orchestration_outsideevent set received_at = received_at - %s::interval where id = %s"
    rows(sooner, ["4 days", early.pk])
    rows(sooner, ["25 hours", late.pk])
    assert mail.match() == 2
    engine_later()
    assert waiting(run)
    assert EventWait.objects.get(run_id=run.pk).event_id is None


def test_an_event_is_for_everyone_who_waits_and_for_no_other_organization(begin, engine, finished, deliver):
    runs = [begin("  w: {wait: {event: invoice.paid}}\n  v: {wait: {event: invoice.paid}}\n") for _ in range(5)]
    engine.look()
    until(lambda: EventWait.objects.count() == 10)
    EventWait.objects.filter(run_id=runs[0].pk, key=1).update(organization_id=0)
    deliver(data=1)
    assert {finished(run).status for run in runs[1:]} == {"completed"}
    assert waiting(runs[0])


def test_an_event_of_the_same_sender_and_name_counts_once(deliver, committed):
    first = deliver(data=1, sender_id="s")
    assert deliver(data=2, sender_id="s").pk == first.pk
    assert OutsideEvent.objects.count() == 1


def test_a_wait_fails_as_timeout_when_nothing_comes(begin, engine, finished):
    run = begin("  w: {wait: {event: invoice.paid, timeout: 30ms}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "timeout")
    assert not is_open()
    assert_sound(run.pk)


@pytest.mark.parametrize(("event", "ended_by"), [(True, "b"), (False, None)])
def test_whichever_comes_first_ends_a_wait_for_several(begin, engine, finished, deliver, event, ended_by):
    length = "1d" if event else "100ms"
    run = begin(f"  w: {{wait: {{any: [{{event: a}}, {{event: b, key: 1}}, {{for: {length}}}]}}}}\n")
    engine.look()
    waiting(run)
    if event:
        deliver(name="b", key="1", data=ended_by)
    run = finished(run)
    assert (run.status, step(run, "w").output) == ("completed", ended_by)
    assert not is_open()


def test_a_loop_hears_each_event_once(begin, engine, finished, deliver):
    run = begin("  w: {repeat: {until: index == 1, max: 3}, wait: {event: invoice.paid}}\n")
    engine.look()
    until(is_open)
    heard = [deliver(data=0).pk]
    until(lambda: EventWait.objects.filter(event_id=None, key=3).exists())
    mail.match()
    assert EventWait.objects.get().event_id is None
    heard.append(deliver(data=1).pk)
    assert finished(run).status == "completed"
    passes = Step.objects.filter(run_id=run.pk, head__isnull=False).order_by("key")
    assert [(each.pass_number, each.event_id) for each in passes] == list(enumerate(heard))
    assert_sound(run.pk)


def test_a_pass_that_begins_later_than_the_one_before_waits_too(begin, engine, finished, deliver):
    run = begin("  w: {repeat: {until: index == 1, max: 3, every: 20ms}, wait: {event: invoice.paid}}\n")
    engine.look()
    until(is_open)
    deliver(data=0)
    until(lambda: Step.objects.filter(run_id=run.pk, pass_number=1, started_at__isnull=False).exists())
    deliver(data=1)
    assert finished(run).status == "completed"
    assert step(run, "w").output == 1


@pytest.mark.parametrize("first", ["a", "b"])
def test_of_two_that_came_between_two_sweeps_the_first_ends_a_wait_for_either(begin, organization, first):
    run = begin("  w: {wait: {any: [{event: a}, {event: b}]}}\n")
    worker = Worker()
    (hand,) = worker.look()
    worker.do(hand)
    worker.record([], look=False)
    for name in sorted("ab", reverse=first == "b"):
        mail.deliver(organization=organization, name=name, key="", data=name, sender_id=None, by=None)
    mail.match()
    worker.sweep()
    assert step(run, "w").output == first


def test_expressions_read_what_ended_a_wait(begin, engine, finished, deliver):
    run = begin(
        """  w: {wait: {any: [{event: invoice.paid, key: a}, {for: 1d}]}}
  x: {wait: {for: 0s}}
output: {id: "${{ steps.w.event.id }}", key: "${{ steps.w.event.key }}", by: "${{ steps.w.event.by }}",
  time: "${{ steps.x.event }}"}
"""
    )
    engine.look()
    until(is_open)
    event = deliver(key="a", data=[1])
    assert finished(run).output == {"id": event.public_id, "key": "a", "by": None, "time": None}


def test_a_canceled_wait_hears_nothing_more(begin, engine, finished, deliver, members):
    run = begin("  w: {wait: {event: invoice.paid}}\n")
    engine.look()
    waiting(run)
    assert answers.cancel(run, by=members.operator, reason="enough") == "canceled"
    assert not is_open()
    deliver()
    until(lambda: not OutsideEvent.objects.filter(matched_at=None).exists())
    assert finished(run).status == "canceled"
    assert_sound(run.pk)


def test_the_rows_of_events_stay_when_nobody_waits(deliver, committed):
    deliver(key="k", data={"n": 1})
    assert mail.match() == 1
    assert mail.match() == 0
    with connection.cursor() as cursor:
        cursor.execute("select matched_at is not null from orchestration_outsideevent")
        assert cursor.fetchall() == [(True,)]
