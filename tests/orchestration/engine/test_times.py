"""How long a step may take in all, wait for a worker, or be silent; promises; and how long a run may take."""

import time

import pytest

from approvals.models import Request
from orchestration.engine import answers, children, deadlines
from orchestration.engine.connection import rows
from orchestration.engine.hands import HUNG_GRACE_SECONDS, of_hung
from orchestration.engine.levers import pausing
from orchestration.engine.starts import start_version
from orchestration.models import Event, Run, Step
from tests.harness import (
    assert_all_sound,
    assert_sound,
    claim,
    end,
    flush,
    insistently,
    make_worker,
    race,
    sweep,
    until,
)
from tests.orchestration.engine.looks import decide, pending, statuses, step, types, waiting
from tests.orchestration.properties.worker import Worker

PAST = "update orchestration_step set {} = {} - interval '1 day' where {} is not null and run_id = any(%s)"
ROUNDS = 200


def end_time(runs, column="deadline_at"):
    """What the clock would bring."""
    rows(PAST.format(*[column] * 3), [runs])


def failure_of(run):
    run = assert_sound(run.pk)
    return run.status, run.error and run.error["class"], run.error and run.error["message"]


def test_a_step_that_no_worker_takes_in_time_fails(begin, committed):
    run = begin("  a: {agent: echo, timeout: {queue: 1h, step: 2h}}\n")
    assert sweep(make_worker())["wake"] == pytest.approx(3600, abs=60)
    end_time([run.pk])
    sweep(make_worker())
    assert failure_of(run) == ("failed", "timeout", "No worker took it in time.")


def test_the_wait_for_a_worker_ends_with_it(begin, committed):
    run = begin("  a: {agent: echo, timeout: {queue: 1h}}\n")
    worker = make_worker()
    (place,) = claim(worker)
    assert step(run, "a").deadline_at is None
    end(worker, place)
    assert assert_sound(run.pk).status == "completed"


def test_a_step_that_waits_longer_than_it_may_fails(begin, engine):
    tries = "retry: {attempts: 9, backoff: 30m, max: 1h}"
    run = begin(f"  a: {{agent: echo, with: {{fail: {{times: 9}}}}, timeout: {{step: 1h}}, {tries}}}\n")
    engine.look()
    waiting(run)
    end_time([run.pk])
    engine.look()
    until(lambda: Run.objects.get(pk=run.pk).has_ended)
    assert failure_of(run) == ("failed", "timeout", "It did not end in time, with all that it waited for.")


def test_the_time_of_a_step_begins_when_it_may(begin, committed):
    run = begin(
        "  a: {agent: echo}\n  b: {agent: echo, needs: [a], timeout: {step: 1h, queue: 1m}, expect: {within: 2h}}\n"
    )
    worker = make_worker()
    (place,) = claim(worker)
    assert (step(run, "b").total_at, step(run, "b").expect_at) == (None, None)
    end(worker, place)
    found = step(run, "b")
    assert (found.total_at - found.deadline_at).total_seconds() == pytest.approx(3540, abs=1)
    assert (found.expect_at - found.total_at).total_seconds() == pytest.approx(3600, abs=1)


@pytest.mark.parametrize(("agent", "becomes"), [("hold", "failed"), ("once", "uncertain")])
def test_a_call_beyond_its_steps_time_is_asked_to_stop(begin, engine, hold, agent, becomes):
    run = begin(f"  a: {{agent: {agent}, timeout: {{step: 1h}}}}\n")
    engine.look()
    until(lambda: hold.calls)
    end_time([run.pk])
    engine.look()
    until(lambda: step(run, "a").status == becomes)
    until(lambda: "step.late_result" in types(run))
    assert_sound(run.pk)


def test_a_call_that_says_nothing_is_given_up(begin, engine, hold, finished):
    hold.deaf = True
    run = begin("  a: {agent: hold, timeout: {silence: 100ms}}\n")
    engine.look()
    assert finished(run).error == {"class": "timeout", "message": "hold said nothing for 0.1 s.", "step": "a"}
    hold.go.set()
    until(lambda: types(run)[-1] == "step.late_result")


def test_each_word_is_a_sign_of_life(begin, db, agents):
    begin("  a: {agent: echo, timeout: {attempt: 1h, silence: 20s}}\n")
    (hand,) = Worker().record([], look=True)
    now = time.monotonic()

    def outcome(called, spoke):
        hand.spoke_at = now - spoke
        return of_hung(hand, None if called is None else now - called, now)

    assert (outcome(10, 1e9), outcome(60, 10), outcome(None, 1e9)) == (None, None, None)
    assert outcome(21, 1e9).fields["error"]["message"] == outcome(99, 21).fields["error"]["message"]
    assert outcome(3600 + HUNG_GRACE_SECONDS + 1, 1).fields["error"]["class"] == "timeout"
    hand.heard()
    assert hand.spoke_at >= now


def test_a_promise_that_is_broken_is_told_once_and_nothing_else_changes(start_many):
    runs = start_many("name: one\nsteps: {a: {agent: echo, expect: {within: 1h}}}")
    end_time(runs, "expect_at")
    worker = make_worker()
    race(ROUNDS, lambda n: sweep(worker), lambda n: sweep(worker))
    told = Event.objects.filter(type="step.overdue")
    assert (told.count(), told.values("run_id").distinct().count()) == (ROUNDS, ROUNDS)
    assert told.first().data == {"step": "a", "round": 1, "within": 3600}
    for place in claim(worker, ROUNDS):
        end(worker, place)
    assert {run.status for run in assert_all_sound(runs)} == {"completed"}


PROMISED = "name: promised\nexpect: {within: 1h}\nsteps: {a: {approval: {title: t}}, b: {needs: [a], agent: echo}}"
LATE = "update orchestration_run set {0} = {0} - interval '1 day', created_at = created_at - interval '1 day'"


def late(run):
    rows(LATE.format("expect_at") + " where id = %s", [run.pk])


def test_a_run_that_is_later_than_promised_says_so_once_and_goes_on(begin, engine, finished, members):
    run = begin(PROMISED)
    engine.look()
    waiting(run)
    assert sweep(make_worker())["wake"] == pytest.approx(3600, abs=60)
    before = statuses(run)
    late(run)
    engine.look()
    until(lambda: types(run)[-1] == "run.overdue")
    sweep(make_worker())
    told = Event.objects.get(run_id=run.pk, type="run.overdue")
    run = assert_sound(run.pk)
    assert (told.key, told.data) == (None, {"within": 3600})
    assert (run.status, statuses(run), run.overdue_at > run.expect_at) == ("waiting", before, True)
    decide(run, members.approver)
    engine.look()
    assert finished(run).status == "completed"
    assert types(run).count("run.overdue") == 1


def test_a_paused_run_is_late_too_as_its_times_go_on(begin, committed, members):
    run = begin(PROMISED)
    pausing.pause(run, by=members.operator, reason="r")
    late(run)
    sweep(make_worker())
    assert types(run)[-2:] == ["run.paused", "run.overdue"]
    assert assert_sound(run.pk).status == "paused"


def test_a_run_that_ended_in_time_has_kept_its_promise(begin, committed):
    run = begin("name: quick\nexpect: {within: 1h}\nsteps: {a: {agent: echo}}")
    worker = make_worker()
    (place,) = claim(worker)
    end(worker, place)
    late(run)
    sweep(worker)
    assert types(run)[-1] == "run.completed"
    assert assert_sound(run.pk).overdue_at is None


def test_a_runs_end_against_its_promise(start_many):
    runs = start_many("name: one\nexpect: {within: 1h}\nsteps: {a: {agent: echo}}")
    worker = make_worker()
    claims = {place[0]: place for place in claim(worker, ROUNDS)}
    rows(LATE.format("expect_at"))
    race(ROUNDS, lambda n: insistently(lambda: flush(worker, claims[runs[n]])), lambda n: sweep(worker))
    for run in assert_all_sound(runs):
        assert run.status == "completed"
        assert types(run).count("run.overdue") == int(run.overdue_at is not None)
        assert types(run)[-1] == "run.completed"


def test_a_child_keeps_the_promise_of_its_own_definition(begin, engine, boss, save):
    save("name: child\nexpect: {within: 1h}\nsteps: {a: {approval: {title: t}}}\n")
    run = begin("  a: {agent: boss, with: {}}\n")
    engine.look()
    child = until(lambda: Run.objects.filter(parent_run_id=run.pk).first())
    pending(child)
    assert (child.expect_at - child.created_at).total_seconds() == 3600
    assert Run.objects.get(pk=run.pk).expect_at is None


def test_a_steps_end_against_its_time(start_many):
    runs = start_many("name: one\nsteps: {a: {agent: echo, timeout: {step: 1h}}}")
    worker = make_worker()
    claims = {place[0]: place for place in claim(worker, ROUNDS)}

    def record(n):
        return insistently(lambda: flush(worker, claims[runs[n]]))

    def expire(n):
        end_time([runs[n]])
        return sweep(worker)

    race(ROUNDS, record, expire)
    while sweep(worker)["swept"]:
        pass
    for run in assert_all_sound(runs):
        ends = [kind for kind in types(run) if kind in ("step.completed", "step.failed")]
        assert ends == ["step." + run.status]


def test_a_childs_end_against_the_time_of_its_parents_step(start_many, boss, save):
    version = save("name: child\nsteps: {a: {agent: echo}}\noutput: 1\n")
    runs = start_many("name: parent\nsteps: {a: {agent: boss, timeout: {step: 1h}}}")
    worker = make_worker()
    organization = Run.objects.get(pk=runs[0]).organization_id
    ended = {}
    for place in claim(worker, ROUNDS):
        child = start_version(version.pk, organization, {}, by=None, parent=place[:2], depth=1)
        end(worker, place, "waiting", waits_for="child", child=child)
        ended[place[0]] = child
    while claimed := claim(worker, ROUNDS):
        for place in claimed:
            end(worker, place, output=1)

    def tell(n):
        children._tell_parent(ended[runs[n]])

    def expire(n):
        end_time([runs[n]])
        return sweep(worker)

    race(ROUNDS, tell, expire)
    while sweep(worker)["swept"]:
        pass
    for run in assert_all_sound(runs):
        ends = [kind for kind in types(run) if kind in ("step.completed", "step.failed")]
        assert ends == ["step." + run.status]


GATED = "name: child\nsteps: {a: {approval: {title: t}}}\n"


def test_a_run_that_takes_too_long_fails_with_all_that_it_started(begin, engine, hold, boss, save):
    save(GATED)
    run = begin(
        "name: slow\ntimeout: 2h\nsteps: {a: {agent: boss, with: {}}, b: {agent: hold}, c: {agent: echo, needs: [b]}}"
    )
    engine.look()
    child = until(lambda: Run.objects.filter(parent_run_id=run.pk).first())
    request = pending(child)
    until(lambda: hold.calls)
    rows("update orchestration_run set deadline_at = deadline_at - interval '1 day' where id = %s", [run.pk])
    engine.look()
    until(lambda: Run.objects.get(pk=run.pk).has_ended and Run.objects.get(pk=child.pk).has_ended)
    run, child = assert_all_sound([run.pk, child.pk])
    assert (run.status, child.status) == ("failed", "canceled")
    assert (run.error["class"], run.error["step"]) == ("timeout", None)
    until(lambda: Request.objects.get(pk=request.pk).status == "withdrawn")


def test_a_runs_end_against_its_time(start_many):
    runs = start_many("name: one\ntimeout: 1h\nsteps: {a: {agent: echo}, b: {agent: echo, needs: [a]}}")
    worker = make_worker()
    for place in claim(worker, ROUNDS):
        end(worker, place)
    claims = {place[0]: place for place in claim(worker, ROUNDS)}
    rows("update orchestration_run set deadline_at = deadline_at - interval '1 day'")
    race(ROUNDS, lambda n: insistently(lambda: flush(worker, claims[runs[n]])), lambda n: deadlines._stop(runs[n]))
    ended = assert_all_sound(runs)
    assert {run.status for run in ended} <= {"completed", "failed"}
    for run in ended:
        assert ("run.canceling" in types(run)) == (run.status == "failed")
    assert deadlines.stop_overdue() == 0


def test_each_item_of_a_map_has_the_time_that_the_step_says(begin, engine, finished):
    how = "with: {fail: {times: 9}}, retry: {attempts: 2, backoff: 1m}, timeout: {step: 1h}"
    run = begin(f"  a: {{agent: echo, map: {{over: [1, 2], concurrency: 1, tolerate: 2}}, {how}}}\n")

    def item(index, status):
        return Step.objects.filter(run_id=run.pk, index=index, status=status).first()

    engine.look()
    first = until(lambda: item(0, "waiting"))
    head = Step.objects.get(run_id=run.pk, key=first.head)
    assert (head.deadline_at, item(1, "blocked").deadline_at) == (None, None)
    end_time([run.pk])
    engine.look()
    second = until(lambda: item(1, "waiting"))
    assert item(0, "failed").error["class"] == "timeout"
    assert second.deadline_at > first.deadline_at
    end_time([run.pk], "wake_at")
    engine.look()
    assert finished(run).status == "completed"
    assert item(1, "failed").error["class"] == "temporary"
    assert_sound(run.pk)


def test_each_pass_of_a_loop_has_the_time_that_the_step_says(begin, engine):
    run = begin("  a: {agent: echo, repeat: {until: index == 1, max: 3, every: 2h}, timeout: {step: 1h}}\n")
    engine.look()
    until(lambda: Step.objects.filter(run_id=run.pk, pass_number=1, status="waiting").exists())
    head, first, second = Step.objects.filter(run_id=run.pk, name="a").order_by("key")
    assert [each.total_seconds for each in (head, first, second)] == [None, 3600, 3600]
    assert (first.status, second.deadline_at) == ("completed", None)


def test_a_step_that_is_done_again_by_a_persons_word_has_all_its_time_anew(begin, engine, finished, hold, members):
    run = begin("  a: {agent: once, timeout: {step: 1h}}\n")
    engine.look()
    until(lambda: hold.calls)
    end_time([run.pk])
    end_time([run.pk], "total_at")
    engine.look()
    until(lambda: step(run, "a").status == "uncertain")
    hold.go.set()
    answers.resolve(run, step(run, "a"), by=members.operator, outcome="again", output=None, reason="r")
    engine.look()
    assert finished(run).status == "completed"
    assert_sound(run.pk)
