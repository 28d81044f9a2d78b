"""A worker dies while a run takes back what it did: each undo's call is made under one key, and none after its end."""

from collections import Counter

import pytest

from orchestration.models import Event, Run, Step
from tests.harness import until
from tests.orchestration.crashes.looks import WRITER, ended

UNDO = 'compensate: {agent: writer, with: {text: "no ${{ output.text }}"}}'
STEPS = f"  a: {{agent: writer, with: {{text: a}}, {UNDO}}}\n"
STEPS += f"  b: {{agent: writer, needs: [a], with: {{text: b}}, {UNDO}}}\n"
FAILS = STEPS + "  c: {agent: echo, needs: [b], with: {fail: {kind: permanent}}}\n"
ASKS = STEPS + "  ask: {needs: [b], approval: {title: t}}\n"


@pytest.fixture
def writer(save_agent, simulator):
    simulator.forget()
    return save_agent(name="writer", **WRITER)


def check(run, simulator, status, again=0):
    """Both are undone, the last first; `again`: how many calls may have been made a second time."""
    run = ended(run, 60)
    assert (run.status, run.undoing, (run.error or {}).get("undo_failed")) == (status, True, None)
    rows = Step.objects.filter(run=run).exclude(undoes=None).order_by("key")
    assert [(row.name, row.status) for row in rows] == [("b:undo", "completed"), ("a:undo", "completed")]
    calls = Counter(simulator.keys())
    assert set(calls) == {f"{run.public_id}:{name}:1{undo}" for name in "ab" for undo in ("", ":undo")}
    assert sum(calls.values()) <= 4 + again
    told = Event.objects.filter(run=run, type="step.completed").values_list("key", flat=True)
    assert sorted(told) == sorted(set(told))
    return run


@pytest.mark.parametrize(
    ("point", "nth"),
    [("undoing", 1), ("undoing", 2), ("flush", 3), ("recorded", 3), ("called", 3), ("flush", 4), ("recorded", 4)],
)
def test_a_kill_while_a_run_is_undone_undoes_all_of_it_once(nursery, begin, writer, simulator, at_rest, point, nth):
    run = begin(FAILS)
    victim = nursery.worker(at=point, nth=nth)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    check(run, simulator, "failed", again=point in ("called", "flush"))
    at_rest(heir)


def test_a_kill_of_who_cancels_leaves_nothing_that_is_not_undone(nursery, begin, members, writer, simulator, at_rest):
    run = begin(ASKS)
    worker = nursery.worker()
    until(lambda: Step.objects.filter(run_id=run.pk, name="ask", status="waiting").exists())
    site = nursery.fork("cancel", at="canceled", given={"run": run.pk, "by": members.operator.pk})
    until(lambda: site.is_gone)
    check(run, simulator, "canceled")
    at_rest(worker)


def test_a_worker_that_dies_in_a_call_that_can_be_undone_leaves_it_to_the_next(
    nursery, begin, members, writer, simulator, at_rest
):
    """It may be repeated: the next worker's call has the same key, and says what is to be undone."""
    simulator.slow_once(30)
    run = begin(FAILS)
    victim = nursery.worker()
    until(simulator.keys)
    victim.kill()
    heir = nursery.worker()
    check(run, simulator, "failed", again=1)
    at_rest(heir)


def test_what_was_under_way_when_its_run_was_canceled_and_its_worker_died_is_for_a_person(
    nursery, begin, members, writer, simulator
):
    simulator.slow_once(30)
    run = begin(FAILS)
    victim = nursery.worker()
    until(simulator.keys)
    site = nursery.fork("cancel", given={"run": run.pk, "by": members.operator.pk})
    until(lambda: site.is_gone)
    victim.kill()
    nursery.worker()
    asked = until(lambda: Step.objects.filter(run_id=run.pk, name="a:undo", status="uncertain").first())
    assert "contact was lost" in asked.error["message"]
    assert Run.objects.get(pk=run.pk).status == "canceling"
