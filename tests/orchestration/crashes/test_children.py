"""A run that a step started, and the run of that step: what becomes of the one when a worker of the other dies."""

import pytest

from approvals.models import Request
from orchestration.models import Run
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
