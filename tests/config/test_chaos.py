"""The plan of `manage.py chaos`. The drill itself is a check of its own in `bin/test`."""

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
