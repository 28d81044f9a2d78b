"""A worker is killed, or frozen past its lease, at every point of the protocol."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from approvals.models import Request
from orchestration.engine import failpoints
from orchestration.models import Event, Run, Worker
from tests.harness import until

# (point, at which of its passes)
IN_A_RUN = [
    *[("claimed", 1), ("claimed", 4), ("call", 2), ("called", 1), ("called", 3), ("flush", 2), ("payloads", 1)],
    *[("preparing", 1), ("preparing", 2), ("prepared", 1), ("prepared", 2), ("flushed", 1), ("flushed", 2)],
    *[("recorded", 1), ("recorded", 5), ("sweep", 2), ("swept", 2), ("answer", 1), ("answer", 2), ("round", 1)],
    *[("told", 1), ("taken", 1), ("lease", 1)],
]
FROZEN_AT = [("claimed", 2), ("called", 2), ("flush", 2), ("prepared", 1), ("recorded", 2), ("answer", 1)]


def points_of(test):
    """Those at which a test has a process killed, frozen or held: what it says as `at`, itself or by its parameters."""
    marks = [mark.args for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    for node in ast.walk(ast.parse(inspect.getsource(test))):
        match node:
            case ast.keyword(arg="at", value=ast.Constant(value=point)):
                yield point
            case ast.keyword(arg="at", value=ast.Name(id=name)):
                for names, values in marks:
                    if name == names:
                        yield from values
                    elif name in names:
                        yield from (each[names.index(name)] for each in values)


def test_each_point_has_its_test():
    used = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        for name, test in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_"):
                used.update(points_of(test))
    assert used == set(failpoints.POINTS)


@pytest.mark.parametrize(("point", "nth"), IN_A_RUN)
def test_a_kill_at_this_point_repeats_no_finished_step(nursery, order, at_rest, point, nth):
    run = order.begin()
    victim = nursery.worker(at=point, nth=nth)
    until(lambda: victim.is_gone or order.drive(run))
    assert victim.reached, victim.words()
    assert victim.is_gone
    before = order.done(run)
    heir = nursery.worker()
    order.check(run, before)
    at_rest(heir)


@pytest.mark.parametrize(("point", "nth"), FROZEN_AT)
def test_a_worker_frozen_at_this_point_changes_nothing_when_it_wakes_up(nursery, order, simulator, at_rest, point, nth):
    short = {"WORKER_LEASE_SECONDS": 1.0, "WORKER_HEARTBEAT_SECONDS": 0.2}
    run = order.begin()
    # One call at a time: no other is just between its look at the lease and its way to the model.
    victim = nursery.worker(at=point, nth=nth, what="freeze", WORKER_THREADS=1, **short)
    until(lambda: victim.reached or order.drive(run))
    before = order.done(run)
    heir = nursery.worker(**short)
    ended, calls = order.check(run, before), simulator.keys()
    until(lambda: Worker.objects.filter(pid=victim.pid, dead_at__isnull=False).exists())
    victim.go_on()
    until(lambda: Worker.objects.filter(pid=victim.pid, dead_at=None).exists())  # another life
    at_rest(heir, victim)
    assert (order.check(run, before).output, simulator.keys()) == (ended.output, calls)


@pytest.fixture
def waiting(nursery, begin, save, save_agent):
    """A run that waits for an answer, and for a child that waits for one; and a worker."""
    save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["asks"]})
    save("name: asks\nsteps: {ask: {approval: {title: t}}}")
    run = begin("  ask: {approval: {title: t}}\n  call: {agent: boss}\n")
    worker = nursery.worker()
    until(lambda: Request.objects.pending().count() == 2)
    return run, worker


def canceled(run):
    until(lambda: not Request.objects.pending().exists())
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    statuses = Run.objects.filter(pk__gte=run.pk).values_list("status", flat=True)
    assert set(statuses) == {"canceled"}
    assert Event.objects.filter(type="run.canceling").count() == len(statuses)


@pytest.mark.parametrize("point", ["canceled", "tidied"])
def test_a_kill_of_who_cancels_leaves_no_question_and_no_child(nursery, waiting, members, at_rest, point):
    run, worker = waiting
    site = nursery.fork("cancel", at=point, given={"run": run.pk, "by": members.operator.pk})
    until(lambda: site.is_gone)
    canceled(run)
    at_rest(worker)


def test_a_kill_of_a_worker_that_tidies_up_leaves_no_question_and_no_child(nursery, waiting, members, at_rest):
    run, worker = waiting
    worker.kill()
    site = nursery.fork("cancel", at="canceled", given={"run": run.pk, "by": members.operator.pk})
    victim = nursery.worker(at="tidied")
    until(lambda: site.is_gone and victim.is_gone)
    heir = nursery.worker()
    canceled(run)
    at_rest(heir)


def test_a_decision_stands_when_who_took_it_dies_right_after_its_commit(nursery, waiting, members, at_rest):
    _, worker = waiting
    worker.kill()
    for request in Request.objects.pending():
        given = {"request": request.pk, "by": members.approver.pk, "choice": "continue"}
        site = nursery.fork("decide", given=given)  # it exits at once: no hint leaves it
        until(lambda site=site: site.is_gone)
    heir = nursery.worker()
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    assert set(Run.objects.values_list("status", flat=True)) == {"completed"}
    at_rest(heir)
