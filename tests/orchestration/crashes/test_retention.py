"""Who lets old runs go is killed, or others go on meanwhile."""

import pytest

from orchestration.doctor import examine
from orchestration.engine.connection import rows
from tests.harness import assert_sound, claim, end, make_worker, until
from tests.orchestration.old import STEPS, age, leftovers, let_go, rows_of, speak, there


@pytest.fixture
def runs(partitions, begin):
    """(goes, is pinned, is open with a step that runs), 100 days old; and the worker and the step."""
    worker, made = make_worker(), []
    for _ in range(3):
        run = begin(STEPS)
        (step,) = claim(worker)
        if len(made) < 2:
            end(worker, step, output={"value": 1})
            (last,) = claim(worker)
            end(worker, last, output={"value": 2})
        speak(run)
        run.refresh_from_db()
        made.append(run)
    age(*made)
    rows("update orchestration_run set pinned_at = now() where id = %s", [made[1].pk])
    return *made, worker, step


@pytest.mark.parametrize("point", ["forgotten", "kept", "swapped"])
def test_killed_anywhere_the_next_call_finishes(nursery, runs, point):
    goes, pinned, still, worker, step = runs
    before = {run.pk: rows_of(run) for run in (pinned, still)}
    victim = nursery.fork("retain", at=point)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    assert {run.pk: rows_of(run) for run in (pinned, still)} == before
    let_go()
    assert there(goes, pinned, still) == {pinned.pk, still.pk}
    assert {run.pk: rows_of(run) for run in (pinned, still)} == before
    assert leftovers() == []
    end(worker, step, output={"value": 1})
    assert_sound(still.pk)
    assert examine() == []


def test_a_run_that_goes_on_while_others_are_copied_loses_nothing(nursery, runs):
    goes, pinned, still, worker, step = runs
    victim = nursery.fork("retain", at="kept", what="hold")
    until(lambda: victim.reached or victim.is_gone)
    end(worker, step, output={"value": 1})
    (last,) = claim(worker)
    end(worker, last, output={"value": 2})
    speak(still, 3)
    wanted = rows_of(still)
    victim.go_on()
    until(lambda: victim.is_gone)
    assert there(goes, pinned, still) == {pinned.pk, still.pk}, victim.words()
    assert rows_of(still) == wanted
    assert leftovers() == []
    assert assert_sound(still.pk).status == "completed"
