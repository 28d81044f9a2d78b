"""What people do to a run whose step waits for one among several: it reaches both; what comes first still counts."""

import pytest

from agents import tools
from agents.calls import Result, Usage
from approvals.models import Request
from orchestration.doctor import examine
from orchestration.engine import answers
from orchestration.engine.levers import forking, moving, pausing, retrying
from orchestration.exceptions import Misfit
from orchestration.models import Budget, EventWait, Run
from tests.harness import until
from tests.orchestration.engine.looks import decide, pending, statuses, step, waiting
from tests.orchestration.engine.test_wait_children import ASKS, child_of, family, wait_for

WAITS = "name: d\nsteps:\n" + wait_for("{event: paid}, {for: 1d}")
BEHIND = '  b: {agent: echo, needs: [w], with: {value: "${{ steps.w.output }}"}}\n'
USAGE = {"input_tokens": 60, "output_tokens": 40, "cost_usd": 0.25, "model": "m", "simulated": True}


@pytest.fixture
def opened(begin, save, engine):
    """Begin a run of this text, whose step waits; gives it and its child, which asks."""

    def opened(text=WAITS):
        save(ASKS)
        run = begin(text)
        engine.look()
        child = child_of(run)
        pending(child)
        waiting(child)
        waiting(run)
        return Run.objects.for_list().get(pk=run.pk), child

    return opened


@pytest.fixture
def at_rest():
    """All runs have ended, nothing is left of them to do, and the doctor finds nothing."""

    def at_rest():
        until(lambda: not Run.objects.filter(ended_at=None).exists())
        until(lambda: not examine(settled=True))
        assert not EventWait.objects.exists()
        assert not Request.objects.pending().exists()

    return at_rest


def status_of(*runs):
    return [Run.objects.get(pk=run.pk).status for run in runs]


# --- another version


@pytest.mark.parametrize("first", ["event", "child"])
def test_what_comes_first_counts_after_a_move_to_another_version(opened, save, members, deliver, at_rest, first):
    run, child = opened()
    save(WAITS + BEHIND)
    moving.move(run, by=members.builder, reason="r")
    waits = step(run, "w")
    assert (waits.status, waits.waits_for, waits.child_run_id) == ("waiting", "child", child.pk)
    family(run)
    if first == "event":
        deliver(data=9)
    else:
        decide(child, members.approver)
    at_rest()
    run = Run.objects.for_list().get(pk=run.pk)
    assert (run.status, run.definition_version.number) == ("completed", 2)
    assert step(run, "b").output == {"value": 9 if first == "event" else 5}
    assert status_of(child) == ["canceled" if first == "event" else "completed"]
    assert Run.objects.filter(parent_run_id=run.pk).count() == 1


@pytest.mark.parametrize(
    ("part", "other"), [("{event: paid}", "{event: sold}"), ("{run: asks}, ", ""), ("run: asks", "run: other")]
)
def test_a_wait_that_says_something_else_is_not_moved(opened, save, members, deliver, at_rest, part, other):
    run, child = opened()
    save("name: other\nsteps: {a: {agent: echo}}")
    save(WAITS.replace(part, other))
    with pytest.raises(Misfit, match="It waits for child, and says something else there"):
        moving.move(run, by=members.builder, reason="r")
    assert Run.objects.for_list().get(pk=run.pk).definition_version.number == 1
    deliver()
    at_rest()
    assert status_of(run, child) == ["completed", "canceled"]


def test_a_run_that_is_moved_to_such_a_wait_is_of_its_level(begin, engine, save, members, deliver, at_rest):
    save(ASKS)
    before = "name: d\nsteps:\n  g: {wait: {event: go}}\n"
    run = begin(before)
    engine.look()
    until(lambda: statuses(run) == {"g": "waiting"})
    waiting(run)
    save(before + wait_for("{event: paid}", needs="[g]"))
    run = Run.objects.for_list().get(pk=run.pk)
    assert run.level == 1
    moving.move(run, by=members.builder, reason="r")
    assert Run.objects.get(pk=run.pk).level == 4
    deliver("go")
    pending(child_of(run))
    deliver(data=1)
    at_rest()
    assert (status_of(run), step(run, "w").output) == (["completed"], 1)


# --- paused


def test_what_comes_while_it_is_paused_ends_the_wait_and_its_child_and_lets_nothing_begin(
    opened, members, deliver, at_rest
):
    run, child = opened(WAITS + BEHIND)
    pausing.pause(run, by=members.operator, reason="r")
    assert status_of(run, child) == ["paused", "paused"]
    deliver(data=7)
    until(lambda: status_of(child) == ["canceled"])
    assert (status_of(run), statuses(run)) == (["paused"], {"w": "completed", "b": "ready"})
    family(run)
    pausing.resume(run, by=members.operator, reason="r")
    at_rest()
    assert (status_of(run), step(run, "b").output) == (["completed"], {"value": 7})


def test_a_child_that_is_paused_with_it_goes_on_with_it(opened, members, at_rest):
    run, child = opened(WAITS + BEHIND)
    pausing.pause(run, by=members.operator, reason="r")
    decide(child, members.approver)
    until(lambda: not Request.objects.unacknowledged().exists())
    assert (status_of(run, child), statuses(run)["w"]) == (["paused", "paused"], "waiting")
    family(run)
    pausing.resume(run, by=members.operator, reason="r")
    at_rest()
    assert (status_of(run, child), step(run, "b").output) == (["completed", "completed"], {"value": 5})


def test_a_child_that_is_paused_by_itself_is_canceled_by_what_comes_first(opened, members, deliver, at_rest):
    run, child = opened()
    pausing.pause(child, by=members.operator, reason="r")
    assert status_of(run, child) == ["waiting", "paused"]
    deliver(data=7)
    at_rest()
    assert (status_of(run, child), step(run, "w").output) == (["completed", "canceled"], 7)


# --- canceled


@pytest.mark.parametrize("paused", [False, True])
def test_a_cancel_ends_what_is_below_first(begin, engine, save, members, deliver, at_rest, paused):
    save(ASKS)
    save("name: middle\nsteps:\n" + wait_for("{event: paid}"))
    run = begin(wait_for("{event: paid}", "middle"))
    engine.look()
    middle = child_of(run)
    leaf = child_of(middle)
    pending(leaf)
    for each in (leaf, middle, run):
        waiting(each)
    if paused:
        pausing.pause(run, by=members.operator, reason="r")
    answers.cancel(run, by=members.operator, reason="r")
    deliver()
    at_rest()
    assert status_of(run, middle, leaf) == ["canceled"] * 3
    ends = [Run.objects.get(pk=each.pk).ended_at for each in (leaf, middle, run)]
    assert ends == sorted(ends)
    assert [step(each, "w").status for each in (run, middle)] == ["canceled"] * 2


def test_a_cancel_leaves_a_child_that_is_to_be_left(opened, members, deliver, at_rest):
    run, child = opened("name: d\nsteps:\n" + wait_for("{event: paid}", "{definition: asks, if_parent_ends: leave}"))
    answers.cancel(run, by=members.operator, reason="r")
    until(lambda: status_of(run) == ["canceled"])
    assert not EventWait.objects.exists()
    family(run)
    deliver()
    decide(child, members.approver)
    at_rest()
    assert status_of(run, child) == ["canceled", "completed"]


# --- begun anew


def test_a_fork_from_the_wait_has_a_child_of_its_own(opened, members, deliver, at_rest):
    run, child = opened(WAITS + BEHIND)
    assert forking.preview(run, step(run, "w")).does == ["w", "b"]
    forked = forking.fork(run, step(run, "w"), by=members.operator, reason="r")
    own = child_of(forked)
    pending(own)
    assert (forked.level, own.pk != child.pk) == (4, True)
    decide(own, members.approver)
    until(lambda: status_of(forked, own) == ["completed", "completed"])
    assert (status_of(run, child), step(forked, "b").output) == (["waiting", "waiting"], {"value": 5})
    deliver(data=7)
    at_rest()
    assert (status_of(run, child), step(run, "b").output) == (["completed", "canceled"], {"value": 7})


@pytest.mark.parametrize("choice", ["continue", "abort"])
def test_a_fork_asks_before_a_child_does_again_what_may_not_be_repeated(
    begin, engine, save, hold, members, deliver, finished, at_rest, choice
):
    save("name: acts\nsteps: {a: {agent: once}, g: {needs: [a], approval: {title: t}}}")
    hold.go.set()
    run = begin(wait_for("{event: paid}", run="acts, with: {n: 3}") + BEHIND)
    engine.look()
    pending(child_of(run))
    deliver(data=1)
    finished(run)
    forked = forking.fork(Run.objects.for_list().get(pk=run.pk), step(run, "w"), by=members.operator, reason="r")
    asked = pending(forked)
    assert (asked.title, asked.payload["with"]) == ("Do w again? It may not simply be repeated", {"n": 3})
    assert not Run.objects.filter(parent_run_id=forked.pk).exists()
    decide(forked, members.approver, choice, note="n")
    if choice == "continue":
        pending(child_of(forked))
        deliver(data=2)
    at_rest()
    assert status_of(forked) == ["completed" if choice == "continue" else "rejected"]
    assert Run.objects.filter(parent_run_id=forked.pk).count() == (choice == "continue")


def test_a_wait_that_failed_is_tried_again_with_another_child(opened, members, deliver, at_rest):
    run, child = opened()
    decide(child, members.approver, "abort", note="n")
    until(lambda: status_of(run) == ["failed"])
    retrying.retry(Run.objects.for_list().get(pk=run.pk), by=members.operator, reason="r")
    second = until(lambda: Run.objects.filter(parent_run_id=run.pk, pk__gt=child.pk).first())
    pending(second)
    deliver(data=3)
    at_rest()
    assert status_of(run, child, second) == ["completed", "rejected", "canceled"]
    assert (step(run, "w").round, step(run, "w").output) == (2, 3)


# --- what the tree spends


@pytest.fixture
def spends(committed, save_agent, save):
    """A definition that spends and then asks."""
    tools.register("spends", {"spend": lambda call: Result({"value": 1}, Usage(**USAGE))})
    save_agent(name="spender", kind="tool", configuration={"tool": "spends"})
    save("name: spends\nsteps: {a: {agent: spender}, g: {needs: [a], approval: {title: t}}}\noutput: 5")


def spent(run):
    budget = Budget.objects.get(pk=run.pk)
    return budget.spent_tokens, budget.spent_runs


def test_a_child_spends_what_its_parent_may_and_what_was_spent_stays_so(
    begin, engine, members, deliver, at_rest, spends
):
    run = begin("name: d\nbudget: {tokens: 50}\nsteps:\n" + wait_for("{event: paid}", "spends") + BEHIND)
    engine.look()
    asked = pending(run)
    child = child_of(run)
    until(lambda: status_of(run, child) == ["paused", "paused"])
    assert (asked.context["kind"], spent(run)) == ("budget", (100, 1))
    deliver(data=7)
    until(lambda: status_of(child) == ["canceled"])
    assert (status_of(run), statuses(run)) == (["paused"], {"w": "completed", "b": "ready"})
    family(run)
    decide(run, members.approver)
    at_rest()
    assert (status_of(run), spent(run)) == (["completed"], (100, 1))


def test_a_child_beyond_the_number_of_runs_waits_until_a_person_says_so(
    begin, engine, members, deliver, at_rest, spends
):
    any_of = '{run: spends}, {event: paid, key: "${{ item }}"}'
    steps = f"steps:\n  w: {{map: {{over: [1, 2, 3], concurrency: 1}}, wait: {{any: [{any_of}]}}}}\n"
    run = begin("name: d\nbudget: {runs: 2}\n" + steps)
    engine.look()
    for number in (1, 2):
        child = until(lambda: len(found := Run.objects.filter(parent_run_id=run.pk)) == number and found.last())  # noqa: B023
        pending(child)
        deliver(key=str(number))
    asked = pending(run)
    assert (asked.payload, spent(run)) == ({"runs": 4}, (200, 3))
    until(lambda: status_of(run) == ["paused"])
    third = Run.objects.filter(parent_run_id=run.pk).last()
    until(lambda: statuses(third)["a"] == "ready")  # who found it so has handed it back
    decide(run, members.approver)
    decide(third, members.approver)
    at_rest()
    assert (status_of(run, third), spent(run)) == (["completed", "completed"], (300, 3))
