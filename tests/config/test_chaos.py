"""The plan of `manage.py chaos`. The drill itself is a check of its own in `bin/test`."""

import pytest

from config.chaos.audit import Claim, late_calls
from config.chaos.plan import BAG, plan_of, touched


def plan(seed=1, seconds=120.0):
    return plan_of(seed, seconds, workers=2, lease=5.0)


def test_the_same_seed_makes_the_same_plan_and_another_seed_another():
    assert plan(1) == plan(1) != plan(2)


def test_two_minutes_hold_every_kind():
    assert {act.kind for act in plan(1)} == set(BAG)


def test_nothing_happens_twice_to_one_target_at_a_time_and_all_is_healed_in_time():
    for seed in range(50):
        until = {}
        for act in plan(seed):
            for target in touched(act, ["worker1", "worker2"]):
                assert act.at >= until.get(target, 0.0), (seed, str(act))
                until[target] = act.at + act.seconds
        assert max(until.values()) < 120


def judged(*asked, hurt):
    """What the audit says of calls of a step that worker1 had from 0 to 10, and worker2 from then on to 20."""
    claims = [Claim("worker1", 0.0, 10.0), Claim("worker2", 10.0, 20.0)]
    wrong = []
    return late_calls("k", list(asked), claims, hurt, wrong), len(wrong)


@pytest.mark.parametrize("hurt", [{}, {"worker1": [(5.0, 12.0)]}])
def test_one_call_a_claim_is_right(hurt):
    assert judged((1.0, "worker1"), (11.0, "worker2"), hurt=hurt) == (0, 0)


def test_a_call_without_a_claim_is_a_finding():
    frozen = {"worker1": [(5.0, 12.0)], "worker2": [(5.0, 12.0)]}
    assert judged((1.0, "worker1"), (2.0, "worker1"), hurt=frozen) == (0, 1)
    assert judged((9.0, "worker2"), hurt=frozen) == (0, 1)
    assert judged((9.0, "worker3"), hurt=frozen) == (0, 1)


@pytest.mark.parametrize(
    ("hurt", "found"),
    [
        ({"worker1": [(5.0, 12.0)]}, (1, 0)),
        ({"worker2": [(5.0, 12.0)]}, (0, 1)),  # another one was frozen
        ({"worker1": [(-5.0, -1.0)]}, (0, 1)),  # it was, before it had the step
        ({"worker1": [(10.5, 12.0)]}, (0, 1)),  # and after it had lost it
        ({"worker1": [(5.0, 6.0)]}, (0, 1)),  # it was awake for long
    ],
)
def test_a_late_call_is_excused_by_the_freezing_of_that_worker_with_that_step_in_hand(hurt, found):
    assert judged((12.1, "worker1"), hurt=hurt) == found
