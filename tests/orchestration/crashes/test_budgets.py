"""Who pauses the runs of a budget that is used up, and asks a person, is killed."""

import pytest

from approvals.models import Request
from orchestration.models import Budget, Run
from tests.harness import until

CHILD = "name: child\nsteps: {a: {wait: {for: 1s}}, b: {agent: echo, needs: [a]}}"
TEXT = """name: top
budget: {runs: 1}
steps: {first: {run: child}, second: {run: child}, third: {run: child, needs: [first, second]}}
output: 1
"""


@pytest.mark.parametrize(("point", "nth"), [("asked", 1), ("swept", 1), ("swept", 2), ("recorded", 2)])
def test_a_kill_of_who_pauses_and_asks_asks_once_and_holds_what_is_to_be_held(
    nursery, save, begin, members, at_rest, point, nth
):
    save(CHILD)
    run = begin(TEXT)
    victim = nursery.worker(at=point, nth=nth)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    asked = until(lambda: Request.objects.pending().filter(context__kind="budget").first())
    until(lambda: {*Run.objects.values_list("status", flat=True)} == {"paused"})
    asked.decide(by=members.approver, choice="continue", digest=asked.digest, edits={"/runs": 9})
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    at_rest(heir)
    run.refresh_from_db()
    assert (run.status, Request.objects.count()) == ("completed", 1)
    assert Budget.objects.values_list("spent_runs", "asked_at").get() == (3, None)


def test_a_kill_of_who_lets_go_what_was_raised(nursery, save, begin, members, at_rest):
    save(CHILD)
    begin(TEXT)
    worker = nursery.worker()
    asked = until(lambda: Request.objects.pending().filter(context__kind="budget").first())
    worker.kill()
    asked.decide(by=members.approver, choice="continue", digest=asked.digest, edits={"/runs": 9})
    victim = nursery.worker(at="asked")
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    at_rest(heir)
    assert {*Run.objects.values_list("status", flat=True)} == {"completed"}
