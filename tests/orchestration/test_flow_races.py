"""Races of heads and their items, with real threads and connections: one gathering, nothing lost, nothing open."""

import pytest

from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.engine.starts import start_version
from orchestration.models import Run, Step
from tests.harness import assert_all_sound, claim, end, end_lease, make_worker, race, sweep

ROUNDS = 200
TEXT = "name: mapped\nsteps:\n  a: {agent: echo, map: {over: [1, 2]}, with: {value: 1}}\n"
SPREAD = {"items": [{"item": 1}, {"item": 2}], "kind": "agent", "repeatable": True, "reads": [], "bearable": 0}
NO = {"class": "permanent", "message": "no"}


@pytest.fixture
def worker(committed):
    return make_worker()


@pytest.fixture
def runs(save, organization, worker):
    version = save(TEXT)
    return [start_version(version.pk, organization.pk, {}, by=None) for _ in range(ROUNDS)]


@pytest.fixture
def heads(runs, worker):
    """The heads, claimed, of the runs in their order."""
    claimed = claim(worker, ROUNDS)
    assert len(claimed) == ROUNDS
    return sorted(claimed)


@pytest.fixture
def items(heads, worker):
    """The two items of each run, claimed."""
    for head in heads:
        assert lay(worker, head) == ["ready:tool"]
    claimed = sorted(claim(worker, 2 * ROUNDS))
    assert len(claimed) == 2 * ROUNDS
    return list(zip(claimed[::2], claimed[1::2], strict=True))


def lay(worker, head):
    return end(worker, head, "waiting", waits_for="child", more={"phase": 1, "spread": SPREAD})


def insist(worker, place, outcome="completed", **fields):
    """As the recorder does with a run that is locked elsewhere: again in the next batch."""
    for _ in range(10_000):
        if (found := end(worker, place, outcome, **fields)) != ["busy"]:
            return found
    raise AssertionError("always busy")


def of_item(place, head):
    return {"more": {"head": head[1]}, "output": place[1]}


def gather(worker, runs, outcome="completed", **fields):
    """Claim and end what is ready: the heads."""
    claimed = claim(worker, 2 * ROUNDS)
    assert len({run for run, _, _ in claimed}) == len(claimed)
    for place in claimed:
        assert end(worker, place, outcome, **fields) == []
    return assert_all_sound(runs)


def test_the_last_two_items_that_end_at_once_are_gathered_once(runs, heads, items, worker):
    race(
        ROUNDS,
        lambda n: insist(worker, items[n][0], **of_item(items[n][0], heads[n])),
        lambda n: insist(worker, items[n][1], **of_item(items[n][1], heads[n])),
    )
    assert Step.objects.filter(run__in=runs, head=None, status="ready", phase=1).count() == ROUNDS
    assert {run.status for run in gather(worker, runs)} == {"completed"}


def test_an_item_that_fails_and_one_that_ends_are_gathered_once(runs, heads, items, worker):
    race(
        ROUNDS,
        lambda n: insist(worker, items[n][0], "failed", error=NO, more={"head": heads[n][1]}),
        lambda n: insist(worker, items[n][1], **of_item(items[n][1], heads[n])),
    )
    assert {run.status for run in gather(worker, runs, "failed", error=NO)} == {"failed"}


def test_an_item_that_ends_while_its_head_fails_ends_as_it_did(runs, heads, items, worker):
    for n in range(ROUNDS):
        end(worker, items[n][0], "failed", error=NO, more={"head": heads[n][1]})
    again = sorted(claim(worker, ROUNDS))
    assert len(again) == ROUNDS
    gave = race(
        ROUNDS,
        lambda n: insist(worker, again[n], "failed", error=NO),
        lambda n: insist(
            worker, items[n][1], "waiting" if n % 2 else "completed", more={"head": heads[n][1]}, **held(n)
        ),
    )
    assert {tuple(late) for n, (_, late) in enumerate(gave) if not n % 2} == {()}
    assert {tuple(late) for n, (_, late) in enumerate(gave) if n % 2} <= {(), ("canceled",)}
    assert {run.status for run in assert_all_sound(runs)} == {"failed"}


def held(n):
    return {"waits_for": "retry", "wake": 3600.0} if n % 2 else {}


def test_a_cancel_against_the_last_item_leaves_nothing_open(runs, heads, items, worker):
    for n in range(ROUNDS):
        end(worker, items[n][0], **of_item(items[n][0], heads[n]))
    canceled = Run.objects.in_bulk(runs)
    race(
        ROUNDS,
        lambda n: answers.cancel(canceled[runs[n]], by=None, reason="test"),
        lambda n: insist(worker, items[n][1], **of_item(items[n][1], heads[n])),
    )
    assert {run.status for run in assert_all_sound(runs)} == {"canceled"}


@pytest.mark.parametrize("phase", [0, 1])
def test_a_head_whose_worker_is_declared_dead_lays_and_gathers_once(runs, save, worker, phase):
    if phase:
        for head in sorted(claim(worker, ROUNDS)):
            lay(worker, head)
        for place in claim(worker, 2 * ROUNDS):
            end(worker, place, output=1)
    owners = [make_worker() for _ in range(ROUNDS)]
    heads = [claim(owner)[0] for owner in owners]
    done = (lambda n: lay(owners[n], heads[n])) if phase == 0 else (lambda n: insist(owners[n], heads[n], output=[]))

    def declare(n):
        end_lease(owners[n])
        return sweep(worker)["swept"]

    gave = race(ROUNDS, done, declare)
    assert {tuple(verdicts) for verdicts, _ in gave} <= {(), ("late",), ("ready:tool",), ("busy",)}
    while sweep(worker)["swept"]:
        pass
    left = claim(worker, 3 * ROUNDS)
    for place in left:
        if Step.objects.get(run=place[0], key=place[1]).phase == phase == 0 and place[1] == 1:
            lay(worker, place)
        else:
            end(worker, place, output=1)
    for place in claim(worker, 3 * ROUNDS):
        end(worker, place, output=1)
    for place in claim(worker, 3 * ROUNDS):
        end(worker, place, output=1)
    assert {run.status for run in assert_all_sound(runs)} == {"completed"}
    assert rows("select count(*) from orchestration_step where head is not null") == [(2 * ROUNDS,)]
