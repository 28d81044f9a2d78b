"""Who delivers an event or a message, and who takes it to the steps that wait for it, is killed."""

import pytest

from orchestration.models import EventWait, OutsideEvent, Run, Step
from tests.harness import until

WAITS = """
  first: {wait: {event: paid}}
  second: {wait: {event: paid, timeout: 1d}, deliverable: {name: d, content: "${{ output }}"}}
  after: {agent: echo, needs: [first, second], with: {value: "${{ steps.first.output }}"}}
output: "${{ steps.after.output.value }}"
"""


@pytest.fixture
def deliver(nursery, organization):
    def deliver(**more):
        given = {"organization": organization.pk, "name": "paid", "data": 7}
        site = nursery.fork("deliver", given=given, **more)
        until(lambda: site.is_gone)

    return deliver


def ended(run):
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    run.refresh_from_db()
    assert (run.status, run.output) == ("completed", 7)
    assert not EventWait.objects.exists()
    assert OutsideEvent.objects.count() == 1


def test_a_kill_of_who_delivers_loses_no_event_and_sent_again_it_is_one(nursery, begin, at_rest, deliver):
    run = begin(WAITS)
    worker = nursery.worker()
    until(lambda: EventWait.objects.count() == 2)
    deliver(at="delivered")
    deliver()
    ended(run)
    at_rest(worker)


@pytest.mark.parametrize(("point", "nth"), [("matched", 1), ("swept", 1), ("recorded", 1)])
def test_a_kill_of_who_takes_an_event_to_its_waits(nursery, begin, at_rest, deliver, point, nth):
    run = begin(WAITS)
    worker = nursery.worker()
    until(lambda: Step.objects.filter(waits_for="event").count() == 2)
    worker.kill()
    deliver()
    victim = nursery.worker(at=point, nth=nth)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    ended(run)
    at_rest(heir)


def test_a_kill_while_steps_begin_to_wait_for_what_came_already(nursery, begin, at_rest, deliver):
    run = begin(WAITS)
    deliver()
    victim = nursery.worker(at="flush")
    until(lambda: victim.is_gone)
    heir = nursery.worker()
    ended(run)
    at_rest(heir)


TALKS = """
  first: {wait: {message: said}}
  after: {agent: echo, needs: [first], with: {value: "${{ steps.first.output }}"}}
output: "${{ steps.after.output.value }}"
messages: {said: {reply: heard}}
"""


@pytest.fixture
def send(nursery, members):
    def send(run, **more):
        given = {"run": run.pk, "name": "said", "data": 7, "by": members.operator.pk}
        site = nursery.fork("send", given=given, **more)
        until(lambda: site.is_gone)

    return send


@pytest.mark.parametrize("point", ["keeping", "delivered"])
def test_a_kill_of_who_sends_a_message_keeps_it_whole_or_not_and_sent_again_it_is_one(
    nursery, begin, at_rest, send, point
):
    run = begin(TALKS)
    worker = nursery.worker()
    until(lambda: EventWait.objects.count() == 1)
    send(run, at=point)
    assert OutsideEvent.objects.count() == (point == "delivered")
    send(run)
    ended(run)
    assert OutsideEvent.objects.get().reply == "heard"
    at_rest(worker)


@pytest.mark.parametrize(("point", "nth"), [("swept", 1), ("recorded", 1), ("flush", 1)])
def test_a_kill_of_who_takes_a_message_to_its_wait(nursery, begin, at_rest, send, point, nth):
    run = begin(TALKS)
    send(run)
    victim = nursery.worker(at=point, nth=nth)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    ended(run)
    at_rest(heir)
