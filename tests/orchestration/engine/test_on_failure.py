"""What follows from a step's failure: the run fails, goes on, or has another step done for it."""

import pytest

from orchestration.models import Step
from tests.harness import assert_all_sound, claim, end, flush, insistently, make_worker, race
from tests.orchestration.engine.looks import statuses, step

ROUNDS = 200
FAIL = "with: {fail: {kind: permanent}}"


def test_a_run_goes_on_after_a_failure(begin, engine, finished):
    run = begin(
        f"  a: {{agent: echo, {FAIL}, on_failure: continue}}\n"
        '  b: {agent: echo, needs: [a], with: {value: "${{ [steps.a.status, steps.a.output] }}"}}\n'
    )
    engine.look()
    run = finished(run)
    assert (run.status, run.error) == ("completed", None)
    assert statuses(run) == {"a": "failed", "b": "completed"}
    assert step(run, "b").output == {"value": ["failed", None]}


def test_what_was_skipped_or_canceled_is_no_failure(begin, engine, finished):
    run = begin(
        "  a: {agent: echo, if: input.go, on_failure: continue}\n  b: {agent: echo, needs: [a]}\n", {"go": False}
    )
    engine.look()
    assert statuses(finished(run)) == {"a": "skipped", "b": "skipped"}


HANDLED = """  a: {{agent: echo, with: {{{}}}, on_failure: tell}}
  after: {{agent: echo, needs: [a]}}
  tell: {{agent: echo, needs: [a], with: {{value: "${{{{ steps.a.status }}}}", {}}}}}
"""
KIND = "fail: {kind: permanent}"


@pytest.mark.parametrize(
    ("fails", "tell_fails", "status", "found"),
    [
        (KIND, "", "completed", {"a": "failed", "after": "skipped", "tell": "completed"}),
        ("", "", "completed", {"a": "completed", "after": "completed", "tell": "skipped"}),
        (KIND, KIND, "failed", {"a": "failed", "after": "skipped", "tell": "failed"}),
    ],
)
def test_a_step_is_done_for_one_that_failed(begin, engine, finished, fails, tell_fails, status, found):
    run = begin(HANDLED.format(fails, tell_fails))
    engine.look()
    run = finished(run)
    assert (run.status, statuses(run)) == (status, found)
    assert status == "completed" or run.error["step"] == "tell"


def test_one_step_is_there_for_several_that_end_at_once(start_many):
    runs = start_many(
        "name: both\nsteps: {a: {agent: echo, on_failure: tell}, b: {agent: echo, on_failure: tell},"
        " tell: {agent: echo, needs: [a, b]}}"
    )
    worker = make_worker()
    places = {place[:2]: place for place in claim(worker, 2 * ROUNDS)}

    def ends(key, outcome, **fields):
        return lambda n: insistently(lambda: flush(worker, places[runs[n], key], outcome, **fields))

    error = {"class": "permanent", "message": "no"}
    race(ROUNDS, ends(1, "failed", error=error), ends(2, "completed", output={"value": 1}))
    assert Step.objects.filter(name="tell", status="ready").count() == ROUNDS
    for place in claim(worker, ROUNDS):
        end(worker, place)
    assert {run.status for run in assert_all_sound(runs)} == {"completed"}
