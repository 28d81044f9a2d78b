"""What runs did that fail or are canceled is taken back, each once, the last first, before they end."""

import pytest

from agents import tools
from agents.calls import Result
from agents.exceptions import Permanent, TimedOut
from orchestration.engine import answers
from orchestration.engine.levers import pausing
from orchestration.engine.levers.retrying import retry
from orchestration.exceptions import Refused
from orchestration.models import Run, Step
from tests.harness import assert_sound, until
from tests.orchestration.engine.looks import decide, statuses, step, types, waiting

UNDO = 'compensate: {agent: undo, with: {of: "${{ output.value }}"}}'
FAILS = "with: {fail: {kind: permanent}}"


class Ledger:
    """What has been undone: [(what, idempotency key)]."""

    def __init__(self):
        self.entries = []
        self.errors = []

    def __call__(self, call):
        self.entries.append((call.input.get("of"), call.idempotency_key))
        if self.errors:
            raise self.errors.pop(0)
        return Result({})

    @property
    def undone(self):
        return [of for of, _ in self.entries]


@pytest.fixture
def ledger(save_agent):
    ledger = Ledger()
    tools.register("undo", {"undo": ledger})
    save_agent(name="undo", kind="tool", configuration={"tool": "undo"})
    return ledger


def do(name, value, more=""):
    return f"  {name}: {{agent: echo, with: {{value: {value}}}, {UNDO}{more}}}\n"


CHAIN = do("a", 1) + do("b", 2, ", needs: [a]") + do("c", 3, ", needs: [b]")


def test_a_run_that_fails_takes_back_what_it_did_and_ends_as_it_would_have(begin, engine, finished, ledger):
    run = begin(CHAIN + f"  d: {{agent: echo, needs: [c], {FAILS}}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["step"], ledger.undone) == ("failed", "d", [3, 2, 1])
    assert [key for _, key in ledger.entries] == [f"{run.public_id}:{name}:1:undo" for name in "cba"]
    assert statuses(run) == {"d": "failed"} | dict.fromkeys([*"abc", "a:undo", "b:undo", "c:undo"], "completed")
    assert types(run)[-9:] == ["step.failed", "run.compensating", *["step.started", "step.completed"] * 3, "run.failed"]
    assert step(run, "b").undo == {"reversible": True, "agent": "undo", "input": {"of": 2}}
    with pytest.raises(Refused, match="has taken back what it did"):
        retry(run, by=None, reason="r")


def test_a_run_that_completes_takes_nothing_back(begin, engine, finished, ledger):
    run = begin(CHAIN)
    engine.look()
    assert (finished(run).status, ledger.undone) == ("completed", [])


def test_a_run_with_nothing_to_take_back_just_ends(begin, engine, finished, ledger):
    run = begin(f"  a: {{agent: echo, {FAILS}, compensate: {{agent: undo}}}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.undoing, types(run)[-1]) == ("failed", False, "run.failed")


def test_a_cancel_takes_back_what_was_done(begin, engine, members, finished, ledger):
    run = begin(CHAIN + "  ask: {needs: [c], approval: {title: t}}\n")
    engine.look()
    waiting(run)
    assert answers.cancel(run, by=members.operator, reason="enough") == "canceling"
    run = finished(run)
    assert (run.status, ledger.undone) == ("canceled", [3, 2, 1])


def test_a_rejection_takes_back_what_was_done(begin, engine, members, finished, ledger):
    run = begin(CHAIN + "  ask: {needs: [c], approval: {title: t}}\n")
    engine.look()
    waiting(run)
    decide(run, members.approver, "abort", note="no")
    run = finished(run)
    assert (run.status, ledger.undone) == ("rejected", [3, 2, 1])


def test_a_call_that_can_be_undone_is_not_asked_to_stop(begin, engine, members, finished, ledger, hold):
    run = begin(f"  a: {{agent: hold, with: {{value: 1}}, {UNDO}}}\n")
    engine.look()
    until(lambda: hold.calls)
    assert answers.cancel(run, by=members.operator, reason="enough") == "canceling"
    engine.look()
    hold.go.set()
    run = finished(run)
    assert (run.status, ledger.undone) == ("canceled", [1])


def test_each_round_and_each_item_is_taken_back(begin, engine, members, finished, ledger):
    run = begin(
        do("a", '"${{ round }}"')
        + do("each", '"${{ item }}"', ", needs: [a], map: {over: [x, y], concurrency: 1}")
        + "  ask: {needs: [each], approval: {title: t, retry: [a]}}\n"
    )
    engine.look()
    waiting(run)
    decide(run, members.approver, "retry", note="again")
    until(lambda: Step.objects.filter(run_id=run.pk, name="ask", round=2, status="waiting").exists())
    answers.cancel(run, by=members.operator, reason="enough")
    run = finished(run)
    assert (run.status, ledger.undone) == ("canceled", ["y", "x", 2, "y", "x", 1])
    assert len({key for _, key in ledger.entries}) == 6


def test_an_undo_is_tried_as_it_says(begin, engine, finished, ledger):
    ledger.errors = [TimedOut("slow"), Permanent("no")]
    retries = "retry: {attempts: 3, backoff: 10ms, on: {permanent: {attempts: 3}}}"
    run = begin(
        f"  a: {{agent: echo, compensate: {{agent: undo, {retries}}}}}\n  b: {{agent: echo, needs: [a], {FAILS}}}\n"
    )
    engine.look()
    run = finished(run)
    assert (run.status, len(ledger.entries), len(set(ledger.entries))) == ("failed", 3, 1)


@pytest.mark.parametrize(
    ("outcome", "status", "times", "failed"),
    [("again", "completed", 2, None), ("completed", "completed", 1, None), ("failed", "failed", 1, ["b:undo"])],
)
def test_a_person_says_what_becomes_of_an_undo_that_failed(
    begin, engine, members, finished, ledger, outcome, status, times, failed
):
    ledger.errors = [Permanent("the other side refuses")]
    run = begin(do("a", 1) + do("b", 2, ", needs: [a]") + "  ask: {needs: [b], approval: {title: t}}\n")
    engine.look()
    waiting(run)
    answers.cancel(run, by=members.operator, reason="enough")
    asked = until(lambda: Step.objects.filter(run_id=run.pk, name="b:undo", status="uncertain").first())
    assert_sound(run.pk)
    assert (asked.error["message"], ledger.undone) == ("the other side refuses", [2])
    answers.resolve(run, asked, by=members.operator, outcome=outcome, output=None, reason="looked")
    run = finished(run)
    assert (run.status, statuses(run)["b:undo"], statuses(run)["a:undo"]) == ("canceled", status, "completed")
    assert ledger.undone == [2] * times + [1]
    assert (run.error or {}).get("undo_failed") == failed


def test_what_nobody_knows_to_have_happened_is_for_a_person(begin, engine, members, finished, ledger, hold):
    hold.errors = [TimedOut("no answer")]
    hold.go.set()
    run = begin(do("a", 1) + f"  b: {{agent: hold, needs: [a], {UNDO}}}\n")
    engine.look()
    asked = until(lambda: Step.objects.filter(run_id=run.pk, name="b:undo", status="uncertain").first())
    assert asked.error["message"] == "What is to be undone is not known: no answer"
    answers.resolve(run, asked, by=members.operator, outcome="completed", output=None, reason="it had not happened")
    run = finished(run)
    assert (run.status, ledger.undone) == ("failed", [1])


def test_what_a_person_said_did_not_happen_is_not_taken_back(begin, engine, members, finished, ledger, hold):
    hold.errors = [TimedOut("no answer")]
    hold.go.set()
    run = begin(do("a", 1) + f"  b: {{agent: once, needs: [a], {UNDO}}}\n")
    engine.look()
    asked = until(lambda: Step.objects.filter(run_id=run.pk, name="b", status="uncertain").first())
    answers.resolve(run, asked, by=members.operator, outcome="failed", output=None, reason="it had not happened")
    run = finished(run)
    assert (run.status, ledger.undone) == ("failed", [1])


def test_an_input_that_cannot_be_made_is_for_a_person(begin, engine, members, finished, ledger):
    bad = 'compensate: {agent: undo, with: {of: "${{ output.value.nothing }}"}}'
    run = begin(f"  a: {{agent: echo, with: {{value: {{}}}}, {bad}}}\n  b: {{agent: echo, needs: [a], {FAILS}}}\n")
    engine.look()
    asked = until(lambda: Step.objects.filter(run_id=run.pk, name="a:undo", status="uncertain").first())
    assert (step(run, "a").status, step(run, "a").undo["reversible"], ledger.undone) == ("completed", False, [])
    answers.resolve(run, asked, by=members.operator, outcome="failed", output=None, reason="it stays")
    assert finished(run).error["undo_failed"] == ["a:undo"]


def test_a_large_input_is_kept_beside(begin, engine, finished, ledger):
    run = begin(do("a", '"${{ input.big }}"') + f"  b: {{agent: echo, needs: [a], {FAILS}}}\n", {"big": "x" * 5_000})
    engine.look()
    assert (finished(run).status, ledger.undone) == ("failed", ["x" * 5_000])
    assert step(run, "a").undo == {"reversible": True, "agent": "undo"}


def test_children_take_back_before_their_parents(begin, engine, save, members, finished, ledger):
    save("name: leaf\nsteps:\n" + do("l", '"leaf"') + "  ask: {needs: [l], approval: {title: t}}\n")
    save("name: middle\nsteps:\n" + do("m", '"middle"') + "  call: {run: leaf, needs: [m]}\n")
    run = begin(do("r", '"root"') + "  call: {run: middle, needs: [r]}\n")
    engine.look()
    until(lambda: Step.objects.filter(name="ask", status="waiting").exists())
    answers.cancel(run, by=members.operator, reason="enough")
    run = finished(run)
    assert (run.status, ledger.undone) == ("canceled", ["leaf", "middle", "root"])
    assert set(Run.objects.values_list("status", flat=True)) == {"canceled"}


def test_a_child_that_completed_is_taken_back_by_its_parent(begin, engine, save, finished, ledger):
    save("name: leaf\nsteps: {l: {agent: echo, with: {value: 7}}}\noutput: '${{ steps.l.output }}'")
    run = begin(f"  call: {{run: leaf, {UNDO}}}\n  b: {{agent: echo, needs: [call], {FAILS}}}\n")
    engine.look()
    assert (finished(run).status, ledger.undone) == ("failed", [7])


def test_a_second_cancel_changes_nothing(begin, engine, members, finished, ledger, save_agent, hold):
    save_agent(name="undo", kind="tool", configuration={"tool": "hold"})
    run = begin(do("a", 1) + f"  b: {{agent: echo, needs: [a], {FAILS}}}\n")
    engine.look()
    until(lambda: hold.calls)
    assert answers.cancel(run, by=members.operator, reason="enough") == "running"
    hold.go.set()
    run = finished(run)
    assert (run.status, len(hold.calls), types(run).count("run.canceling")) == ("failed", 1, 0)


def test_a_paused_run_takes_nothing_back_until_it_goes_on(begin, engine, members, finished, ledger, hold):
    def paused():
        hold.go.clear()
        hold.errors = [Permanent("no")]
        hold.calls.clear()
        run = begin(do("a", 1) + "  b: {agent: hold, needs: [a]}\n")
        engine.look()
        until(lambda: hold.calls)
        pausing.pause(run, by=members.operator, reason="r")
        hold.go.set()
        until(lambda: Run.objects.filter(pk=run.pk, undoing=True).exists())
        return assert_sound(run.pk)

    run = paused()
    assert (run.status, ledger.undone) == ("paused", [])
    pausing.resume(run, by=members.operator, reason="r")
    assert (finished(run).status, ledger.undone) == ("failed", [1])
    run = paused()
    answers.cancel(run, by=members.operator, reason="r")
    assert (finished(run).status, ledger.undone) == ("canceled", [1, 1])
    assert types(run).count("run.canceling") == 1
