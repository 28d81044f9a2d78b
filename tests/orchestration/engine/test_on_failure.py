"""What follows from a step's failure, by its class too: the run fails, goes on, or has another step done for it."""

import pytest

from orchestration.engine.levers import forking, moving, pausing, retrying
from orchestration.models import Run, Step
from tests.harness import assert_all_sound, assert_sound, claim, end, flush, insistently, make_worker, race
from tests.orchestration.engine.looks import statuses, step
from tests.orchestration.engine.test_lost_workers import lose

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


BY_CLASS = """  a: {{agent: echo, with: {{{}}}, on_failure: {{temporary: continue, permanent: tell, timeout: warn}}}}
  after: {{agent: echo, needs: [a], with: {{value: "${{{{ steps.a.status }}}}"}}}}
  tell: {{agent: echo, needs: [a], with: {{value: told}}}}
  warn: {{agent: echo, needs: [a], with: {{value: warned}}}}
"""


@pytest.mark.parametrize(
    ("given", "status", "done"),
    [
        ("fail: {kind: temporary}", "completed", {"after"}),
        ("fail: {kind: permanent}", "completed", {"tell"}),
        ('value: "${{ 1 / 0 }}"', "failed", set()),
        ("", "completed", {"a", "after"}),
    ],
)
def test_what_follows_hangs_on_the_class_of_the_error(begin, engine, finished, given, status, done):
    run = begin(BY_CLASS.format(given))
    engine.look()
    run = finished(run)
    found = statuses(run)
    assert (run.status, {name for name in found if found[name] == "completed"}) == (status, done)
    assert {found[name] for name in found if name not in done | {"a"}} <= {"skipped"}
    assert (run.error and (run.error["class"], run.error["step"])) == (
        ("expression", "a") if status == "failed" else None
    )


def test_a_time_that_is_over_is_a_class_as_any_other(begin, engine, finished):
    run = begin(
        "  a: {wait: {event: never, timeout: 50ms}, on_failure: {timeout: tell, else: continue}}\n"
        "  tell: {agent: echo, needs: [a]}\n"
        "  after: {agent: echo, needs: [a]}\n"
    )
    engine.look()
    run = finished(run)
    assert (run.status, statuses(run)) == ("completed", {"a": "failed", "tell": "completed", "after": "skipped"})


def test_a_run_goes_on_without_a_step_whose_worker_was_lost(begin, committed):
    run = begin("  a: {agent: echo, on_failure: {worker_lost: continue}}\n  b: {agent: echo, needs: [a]}\n")
    lose(run, 3)
    assert (step(run, "a").forgiven, step(run, "a").carries) == (True, True)
    worker = make_worker()
    (place,) = claim(worker)
    assert place[1] == step(run, "b").key
    end(worker, place)
    assert assert_sound(run.pk).status == "completed"


@pytest.mark.parametrize(("rule", "status"), [("child_failed: continue", "completed"), ("timeout: continue", "failed")])
def test_the_end_of_a_child_is_a_class_of_its_own(begin, engine, finished, save, rule, status):
    save("name: child\nsteps: {a: {agent: echo, with: {fail: {kind: permanent}}}}\n")
    run = begin(f"  a: {{run: child, on_failure: {{{rule}}}}}\n  b: {{agent: echo, needs: [a]}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, step(run, "a").error["class"]) == (status, "child_failed")
    assert step(run, "b").status == ("completed" if status == "completed" else "skipped")


def test_a_map_fails_as_the_first_of_its_items(begin, engine, finished):
    run = begin(
        f"  a: {{agent: echo, map: {{over: [1, 2]}}, {FAIL}, on_failure: {{permanent: continue}}}}\n"
        "  b: {agent: echo, needs: [a]}\n"
    )
    engine.look()
    assert finished(run).status == "completed"


def failing(run, error, outcome="failed"):
    worker = make_worker()
    (place,) = claim(worker)
    end(worker, place, outcome, error={"class": error, "message": "no"})


def test_each_round_of_a_step_is_judged_by_its_own_failure(begin, committed, members):
    run = begin("  a: {agent: echo, on_failure: {permanent: continue}}\n  b: {approval: {title: t}, needs: [a]}\n")
    failing(run, "permanent")
    assert Run.objects.get(pk=run.pk).error is None
    retrying.retry(run, by=members.operator, reason="again", steps=["a"])
    failing(run, "temporary")
    found = assert_sound(run.pk)
    assert (found.status, found.error["class"]) == ("failed", "temporary")
    first, second = Step.objects.filter(run=run, name="a").order_by("key")
    assert [(one.forgiven, one.carries) for one in (first, second)] == [(True, True), (False, False)]


def test_a_fork_takes_over_a_failure_that_was_borne(begin, engine, finished, members):
    run = begin(BY_CLASS.format(KIND) + "  last: {agent: echo, needs: [tell]}\n")
    engine.look()
    run = finished(run)
    new = finished(forking.fork(run, step(run, "last"), by=members.operator, reason="again"))
    assert (new.status, statuses(new)) == ("completed", statuses(run))
    assert step(new, "a").inherited_run == run.pk
    assert step(new, "a").forgiven
    assert_sound(new.pk)


def test_a_moved_run_goes_by_the_rules_of_its_new_version(begin, save, committed, members):
    text = "name: d\nsteps:\n  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n"
    run = begin(text)
    pausing.pause(run, by=members.operator, reason="r")
    save(text.replace("a: {agent: echo}", "a: {agent: echo, on_failure: {permanent: continue}}"))
    moving.move(run, by=members.builder, reason="r")
    pausing.resume(run, by=members.operator, reason="r")
    failing(run, "permanent")
    assert step(run, "b").status == "ready"
    assert (assert_sound(run.pk).error, Run.objects.get(pk=run.pk).level) == (None, 3)
