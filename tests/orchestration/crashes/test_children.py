"""A run that a step started, and the run of that step: what becomes of the one when a worker of the other dies."""

import pytest

from approvals.models import Request
from orchestration.models import EventWait, Run
from tests.harness import assert_all_sound, until
from tests.orchestration.crashes.looks import WRITER, pending

PART = "name: part\nsteps: {w: {agent: writer, with: {text: part}}}\noutput: '${{ steps.w.output.text }}'"
ASKS = "name: part\nsteps: {ask: {approval: {title: t}}}\noutput: asked"
AROUND = "  call: {run: part}\n  last: {agent: writer, needs: [call], with: {text: '${{ steps.call.output }}'}}\n"
BESIDE = "  side: {agent: writer, with: {text: side}}\n"


@pytest.fixture
def writer(save_agent, simulator):
    simulator.forget()
    return save_agent(name="writer", **WRITER)


def whole(run):
    """Both have completed, there is one child, and nothing was called again after its end was recorded."""
    until(lambda: Run.objects.filter(pk=run.pk, ended_at__isnull=False).exists(), 60)
    both = assert_all_sound(list(Run.objects.order_by("pk").values_list("pk", flat=True)))
    assert [(one.status, one.parent_run_id) for one in both] == [("completed", None), ("completed", run.pk)]


@pytest.mark.parametrize(
    ("point", "nth"), [("flush", 1), ("recorded", 1), ("flush", 2), ("recorded", 2), ("told", 1), ("flush", 3)]
)
def test_a_kill_between_parent_and_child_leaves_one_child(nursery, begin, save, writer, at_rest, point, nth):
    save(PART)
    run = begin(AROUND)
    victim = nursery.worker(at=point, nth=nth)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    whole(run)
    at_rest(heir)


def test_a_childs_worker_dies_while_its_parent_waits(nursery, begin, save, writer, simulator, at_rest):
    save(PART)
    simulator.slow_once(30)
    run = begin(AROUND)
    victim = nursery.worker()
    child = until(lambda: Run.objects.filter(parent_run_id=run.pk).first())
    until(simulator.keys)  # its call is under way
    victim.kill()
    heir = nursery.worker()
    whole(run)
    assert child.events.filter(type="step.started").count() == 2
    at_rest(heir)


def test_a_parents_worker_dies_while_its_child_waits(nursery, begin, save, members, writer, simulator, at_rest):
    save(ASKS)
    simulator.slow_once(30)
    run = begin(AROUND + BESIDE)
    victim = nursery.worker()
    child = until(lambda: Run.objects.filter(parent_run_id=run.pk).first())
    request = pending(child)
    until(simulator.keys)  # the call of `side` is under way
    victim.kill()
    request.decide(by=members.approver, choice="continue", digest=request.digest)
    heir = nursery.worker()
    whole(run)
    assert not Request.objects.pending().exists()
    assert run.events.filter(type="step.started", data__step="call").count() == 1
    at_rest(heir)


EITHER = """
  w: {wait: {any: [{run: part}, {event: paid}]}}
  last: {agent: writer, needs: [w], with: {text: "${{ steps.w.output }}"}}
"""


@pytest.fixture
def either(nursery, organization, begin, save, writer):
    """A run that waits for its child, which asks, and for an event; and its worker. `deliver` sends that event."""
    save(ASKS)
    run = begin(EITHER)
    worker = nursery.worker()
    child = until(lambda: Run.objects.filter(parent_run_id=run.pk).first())
    request = pending(child)

    def deliver():
        site = nursery.fork("deliver", given={"organization": organization.pk, "name": "paid", "data": "event"})
        until(lambda: site.is_gone)

    return run, child, worker, request, deliver


def ended_once(run, child, *child_is):
    until(lambda: not Run.objects.filter(ended_at=None).exists(), 60)
    both = assert_all_sound([run.pk, child.pk])
    assert both[0].status == "completed"
    assert both[1].status in child_is
    assert run.events.filter(type="step.completed", data__step="w").count() == 1
    assert not EventWait.objects.exists()
    assert not Request.objects.pending().exists()


@pytest.mark.parametrize("point", ["matched", "swept", "tidied", "told"])
def test_a_kill_after_an_event_came_first_leaves_no_child_that_goes_on(nursery, either, at_rest, point):
    run, child, worker, _, deliver = either
    worker.kill()
    deliver()
    victim = nursery.worker(at=point)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    ended_once(run, child, "canceled")
    at_rest(heir)


@pytest.mark.parametrize("point", ["answer", "recorded", "swept", "told"])
def test_a_kill_while_a_childs_end_and_an_event_are_both_there_lets_one_count(nursery, members, either, at_rest, point):
    run, child, worker, request, deliver = either
    worker.kill()
    request.decide(by=members.approver, choice="continue", digest=request.digest)
    victim = nursery.worker(at=point)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    deliver()
    heir = nursery.worker()
    until(lambda: Run.objects.filter(pk=run.pk, ended_at__isnull=False).exists(), 60)
    by = run.steps.get(name="w").output
    ended_once(run, child, "completed", *(["canceled"] if by == "event" else []))
    at_rest(heir)
