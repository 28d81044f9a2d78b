"""Slots and units of limits, by the functions alone: who has them, who stands in line, who is next."""

import json

import pytest

from orchestration.engine import slots
from orchestration.engine.connection import decoded, rows, value
from orchestration.engine.starts import start_version
from orchestration.models import Limit, LimitPlace, LimitSlot, RateHit, Run, Step
from tests.harness import claim, end, end_lease, flush, make_worker, sweep

TEXT = "name: calls\nsteps: {a: {agent: echo}}"
ONE = [{"kind": "steps", "key": "k", "max": 1}]


class Bench:
    """Runs of one step each, claimed and about to call."""

    def __init__(self, version, organization, by):
        self.version, self.organization, self.by = version, organization, by
        self.worker = make_worker()

    def step(self):
        run = start_version(self.version.pk, self.organization.pk, {}, by=self.by.pk)
        rows("update orchestration_step set limited = true where run_id = %s", [run])
        return self.claimed(run)

    def claimed(self, run):
        (found,) = [step for step in claim(self.worker, 999) if step[0] == run]
        return found

    def ask(self, step, wanted=ONE):
        wanted = [{"units": 1, **one} for one in wanted]
        asked = [self.organization.pk, *step, json.dumps(wanted)]
        answer = decoded(value("select engine_acquire_v1(%s, %s, %s, %s, %s)", asked))
        if answer is not None and "limit" in answer:
            flush(self.worker, step, "waiting", waits_for="limit")
        return answer

    def end(self, step, outcome="completed", **fields):
        assert not {"late", "busy"} & set(end(self.worker, step, outcome, **fields))
        slots.tend()

    def woken(self):
        """Who is called up, as it is ready and claimed again."""
        slots.tend()
        sweep(self.worker)
        return claim(self.worker, 999)


@pytest.fixture
def bench(committed, save, organization, members):
    return Bench(save(TEXT), organization, members.operator)


def counts():
    return list(Limit.objects.order_by("kind", "key").values_list("taken", "promised"))


def runs_of(steps):
    return [step[0] for step in steps]


def test_who_finds_a_limit_full_stands_in_line_and_is_next_when_the_holder_ends(bench):
    first, second, third = bench.step(), bench.step(), bench.step()
    assert bench.ask(first) is None
    assert bench.ask(second)["key"] == "k"
    assert bench.ask(third)["key"] == "k"
    waiting = Step.objects.get(run_id=second[0], key=1)
    assert (waiting.status, waiting.waits_for, waiting.attempt) == ("waiting", "limit", 0)
    assert bench.woken() == []
    bench.end(first)
    assert counts() == [(0, 1)]
    (again,) = bench.woken()
    assert again[0] == second[0]
    latest = bench.step()
    assert bench.ask(latest)["key"] == "k"  # it is promised, and others came before
    assert bench.ask(again) is None
    assert counts() == [(1, 0)]
    bench.end(again)
    (again,) = bench.woken()
    assert again[0] == third[0]


def test_all_or_none_of_several_limits(bench):
    tenant, user = {"kind": "steps", "key": "t", "max": 3}, {"kind": "steps", "key": "u", "max": 1}
    first, second, third = bench.step(), bench.step(), bench.step()
    assert bench.ask(first, [tenant, user]) is None
    assert bench.ask(second, [user, tenant])["key"] == "u"
    assert bench.ask(third, [tenant]) is None
    assert counts() == [(2, 0), (1, 0)]
    bench.end(first)
    (again,) = bench.woken()
    assert bench.ask(again, [user, tenant]) is None
    assert counts() == [(2, 0), (1, 0)]


def test_who_goes_from_one_line_to_another_keeps_its_place(bench):
    a, b = {"kind": "steps", "key": "a", "max": 1}, {"kind": "steps", "key": "b", "max": 1}
    holds_a, holds_b = bench.step(), bench.step()
    assert bench.ask(holds_a, [a]) is None
    assert bench.ask(holds_b, [b]) is None
    old = bench.step()
    assert bench.ask(old, [a, b])["key"] == "a"
    young = bench.step()
    assert bench.ask(young, [b])["key"] == "b"
    bench.end(holds_a)
    (old,) = bench.woken()
    assert bench.ask(old, [a, b])["key"] == "b"
    assert counts() == [(0, 0), (1, 0)]  # what was promised of a goes back
    bench.end(holds_b)
    (again,) = bench.woken()
    assert again[0] == old[0]
    assert bench.ask(again, [a, b]) is None


def test_the_more_urgent_come_first(bench):
    holder, usual, urgent = bench.step(), bench.step(), bench.step()
    Run.objects.filter(pk=urgent[0]).update(priority=5)
    assert bench.ask(holder) is None
    assert bench.ask(usual)["key"] == "k"
    assert bench.ask(urgent)["key"] == "k"
    bench.end(holder)
    assert runs_of(bench.woken()) == [urgent[0]]


@pytest.mark.parametrize("outcome", ["failed", "ready", "uncertain"])
def test_a_slot_is_free_however_its_step_leaves(bench, outcome):
    first, second = bench.step(), bench.step()
    assert bench.ask(first) is None
    assert bench.ask(second)["key"] == "k"
    bench.end(first, outcome, **({"error": {"class": "permanent", "message": "m"}} if outcome == "failed" else {}))
    assert second[0] in runs_of(bench.woken())


def test_a_step_that_waits_for_its_child_keeps_its_slot(bench):
    first = bench.step()
    assert bench.ask(first) is None
    flush(bench.worker, first, "waiting", waits_for="child")
    slots.tend()
    assert counts() == [(1, 0)]


def test_the_slot_of_a_lost_worker_is_free_with_its_death(bench):
    first, second = bench.step(), bench.step()
    assert bench.ask(first) is None
    assert bench.ask(second)["key"] == "k"
    end_lease(bench.worker)
    bench.worker = make_worker()
    sweep(bench.worker)
    found = bench.woken()
    assert sorted(runs_of(found)) == [first[0], second[0]]
    again = {step[0]: step for step in found}
    assert bench.ask(again[first[0]])["key"] == "k"
    assert bench.ask(again[second[0]]) is None


def test_a_walker_whose_step_is_anothers_by_now_takes_nothing(bench):
    run, key, fence = bench.step()
    assert bench.ask((run, key, fence - 1)) == {"lost": True}
    assert not LimitSlot.objects.exists()


def test_what_was_promised_to_one_that_goes_away_is_the_next_ones(bench):
    holder, second, third = bench.step(), bench.step(), bench.step()
    assert bench.ask(holder) is None
    assert bench.ask(second)["key"] == "k"
    assert bench.ask(third)["key"] == "k"
    bench.end(holder)
    (again,) = bench.woken()
    rows("select engine_cancel_v4(%s, 'canceled', '{}')", [again[0]])
    bench.end(again)
    assert runs_of(bench.woken()) == [third[0]]
    assert counts() == [(0, 1)]


def test_a_paused_run_is_passed_over_and_comes_first_when_it_goes_on(bench):
    holder, paused, other = bench.step(), bench.step(), bench.step()
    assert bench.ask(holder) is None
    assert bench.ask(paused)["key"] == "k"
    assert bench.ask(other)["key"] == "k"
    rows("select engine_pause_v1(%s, '{}')", [paused[0]])
    bench.end(holder)
    (again,) = bench.woken()
    assert again[0] == other[0]
    assert bench.ask(again) is None
    late = bench.step()
    assert bench.ask(late)["key"] == "k"
    rows("select engine_resume_v1(%s, '{}')", [paused[0]])
    bench.end(again)
    assert runs_of(bench.woken()) == [paused[0]]


def test_a_promise_to_a_run_that_is_paused_goes_on_to_the_next(bench):
    holder, paused, other = bench.step(), bench.step(), bench.step()
    assert bench.ask(holder) is None
    assert bench.ask(paused)["key"] == "k"
    assert bench.ask(other)["key"] == "k"
    bench.end(holder)
    rows("select engine_pause_v1(%s, '{}')", [paused[0]])
    assert runs_of(bench.woken()) == [other[0]]
    assert counts() == [(0, 1)]


# --- rates


def rate(most, per=3600.0, units=1):
    return [{"kind": "rate", "key": "r", "max": most, "per": per, "units": units}]


def test_no_window_of_a_rate_has_more_units_than_it_may(bench):
    assert bench.ask(bench.step(), rate(5, units=3)) is None
    assert bench.ask(bench.step(), rate(5, units=2)) is None
    waits = bench.ask(bench.step(), rate(5, units=2))
    assert waits["until"] == value(
        "select to_json(min(at) + make_interval(hours => 1))#>>'{}' from orchestration_ratehit"
    )
    assert bench.woken() == []
    rows("update orchestration_ratehit set at = at - make_interval(hours => 1)")
    rows("update orchestration_limitqueue set woken_at = clock_timestamp()")
    (again,) = bench.woken()
    assert bench.ask(again, rate(5, units=2)) is None
    assert list(RateHit.objects.order_by("upto").values_list("upto", "units")) == [(3, 3), (5, 2), (7, 2)]
    assert counts() == [(0, 0)]


def test_who_comes_late_waits_until_the_units_before_it_have_left_the_window(bench):
    assert bench.ask(bench.step(), rate(1)) is None
    first, second = bench.step(), bench.step()
    assert "until" in bench.ask(first, rate(1))
    assert "until" not in bench.ask(second, rate(1))  # that hangs on when the first goes
    rows("update orchestration_limitqueue set woken_at = clock_timestamp() where run_id = %s", [first[0]])
    (again,) = bench.woken()
    assert bench.ask(again, rate(1))["until"] is not None  # called up too early
    rows("update orchestration_ratehit set at = at - make_interval(hours => 1)")
    rows("update orchestration_limitqueue set woken_at = clock_timestamp() where run_id = %s", [first[0]])
    (again,) = bench.woken()
    assert bench.ask(again, rate(1)) is None
    assert LimitPlace.objects.get().woken_at is not None  # now it is known


def test_more_units_than_may_be_had_at_once_are_never_had(bench):
    assert bench.ask(bench.step(), rate(5, units=6)) == {"most": 5, "kind": "rate", "key": "r"}
    assert not LimitPlace.objects.exists()


def test_a_step_that_finds_a_slot_and_no_units_holds_neither(bench):
    both = [*ONE, *rate(1)]
    assert bench.ask(bench.step(), rate(1)) is None
    assert bench.ask(bench.step(), both)["kind"] == "rate"
    assert bench.ask(bench.step(), ONE) is None
