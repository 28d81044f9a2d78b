"""What becomes of the steps of a worker that died, and of one that stops."""

import time

import pytest
from django.db import transaction

from accounts.clock import ClockTimestamp
from orchestration.engine import answers, lease
from orchestration.engine.connection import rows
from orchestration.engine.process import Process
from orchestration.exceptions import NotUncertain
from orchestration.models import Worker
from tests.harness import assert_sound, claim, end, end_lease, make_worker, sweep, until
from tests.orchestration.conftest import END_SESSIONS
from tests.orchestration.engine.looks import statuses, step, types, waiting


def lose(run, times=1):
    """Claim the run's ready step for a worker that dies with it, so many times; gives the last claim."""
    sweeper = make_worker()
    for _ in range(times):
        worker = make_worker()
        (claimed,) = claim(worker)
        assert claimed[0] == run.pk
        end_lease(worker)
        assert sweep(sweeper)["swept"] == 1
        assert_sound(run.pk)
    return worker, claimed


def test_a_lost_try_does_not_count_and_runs_again_under_the_same_key(begin, committed, hold, engine_later, finished):
    hold.go.set()
    run = begin("  a: {agent: hold}\n")
    lose(run, 2)
    engine_later()
    run = finished(run)
    assert (run.status, step(run, "a").attempt, hold.calls) == ("completed", 1, [f"{run.public_id}:a:1"])


def test_a_claim_that_its_worker_never_heard_of_is_found_while_it_lives(
    begin, engine_later, finished, settings, monkeypatch
):
    """Within a lease, however long a look takes; with a heartbeat after a connection was lost."""
    monkeypatch.setattr(lease, "COMPARING_SHARE", 1e-9)
    settings.WORKER_HEARTBEAT_SECONDS, settings.WORKER_SWEEP_SECONDS = 0.1, 600.0
    process = engine_later().process

    def lost():
        with transaction.atomic():  # else its own recorder has it first
            run = begin("  a: {agent: echo}\n")
            assert [place[0] for place in claim(process.worker_id)] == [run.pk]
        return run

    assert step(finished(lost()), "a").attempt == 1
    settings.WORKER_LEASE_SECONDS = 60.0
    until(lambda: process.lease.compare_at > time.monotonic() + 30)
    rows(END_SESSIONS)
    process.recorder.look()
    until(lambda: process.lease.doubtful_until > time.monotonic())
    assert finished(lost()).status == "completed"


def test_the_third_loss_in_a_row_fails_the_step_as_worker_lost(begin, committed):
    run = begin("  a: {agent: echo}\n")
    lose(run, 3)
    run = assert_sound(run.pk)
    assert (run.status, run.error["class"]) == ("failed", "worker_lost")


def test_nobody_is_declared_dead_by_one_whose_own_lease_is_over(begin, committed):
    run = begin("  a: {agent: echo}\n")
    worker, late = make_worker(), make_worker(-1)
    claim(worker)
    end_lease(worker)
    assert sweep(late)["swept"] == 0
    assert sweep(make_worker(100), lease=300.0)["swept"] == 0  # its last heartbeat is longer ago than half a lease
    assert sweep(make_worker(1e10), lease=1e9)["swept"] == 0  # the server has just begun
    assert step(run, "a").status == "running"


def test_nobody_is_declared_dead_by_one_that_has_just_come_or_come_back(begin, committed):
    begin("  a: {agent: echo}\n")
    worker, process = make_worker(), Process()
    claim(worker)
    end_lease(worker)
    process.lease.take()
    assert sweep(process.worker_id)["swept"] == 0
    Worker.objects.filter(pk=process.worker_id).update(fit_from=ClockTimestamp())
    end_lease(process.worker_id)
    process.lease.renew()
    assert sweep(process.worker_id)["swept"] == 0
    Worker.objects.filter(pk=process.worker_id).update(fit_from=ClockTimestamp())
    process.lease.renew()
    assert sweep(process.worker_id)["swept"] == 1


def test_a_dead_worker_claims_nothing_and_its_result_is_late(begin, committed):
    run = begin("  a: {agent: echo}\noutput: {x: 1}\n")
    worker, claimed = lose(run)
    assert claim(worker) == []
    heir = make_worker()
    (again,) = claim(heir)
    assert again[2] == claimed[2] + 1
    assert end(heir, again, output={"value": 2}) == ["ready:default"]
    (last,) = claim(heir)
    end(heir, last, output={"x": 1})
    assert end(worker, claimed, output={"value": 1}) == ["late"]
    run = assert_sound(run.pk)
    assert (run.status, run.output, step(run, "a").output) == ("completed", {"x": 1}, {"value": 2})
    assert types(run)[-1] == "step.late_result"


@pytest.mark.parametrize(
    ("outcome", "ends_as"), [("completed", "completed"), ("failed", "failed"), ("again", "completed")]
)
def test_an_uncertain_step_waits_for_a_persons_word(
    begin, committed, members, hold, engine_later, finished, outcome, ends_as
):
    hold.go.set()
    run = begin(
        """
  a: {agent: once, with: {value: 5}}
  b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output.value }}"}}
"""
    )
    lose(run)
    run = waiting(run)
    assert (step(run, "a").status, types(run)[-1]) == ("uncertain", "step.uncertain")
    output = {"value": 5} if outcome == "completed" else None
    answers.resolve(run, step(run, "a"), by=members.operator, outcome=outcome, output=output, reason="I looked")
    assert_sound(run.pk)
    engine_later()
    run = finished(run)
    assert run.status == ends_as
    assert len(hold.calls) == (outcome == "again")
    if ends_as == "completed":
        assert (step(run, "b").output, step(run, "a").attempt) == ({"value": 5}, 1)
    with pytest.raises(NotUncertain):
        answers.resolve(run, step(run, "a"), by=members.operator, outcome="failed", output=None, reason="")


def test_what_nobody_can_store_is_refused_as_an_uncertain_steps_output(begin, committed, members, hold):
    run = begin("  a: {agent: once}\n")
    lose(run)
    with pytest.raises(ValueError, match="zero character"):
        answers.resolve(
            run, step(run, "a"), by=members.operator, outcome="completed", output={"x": ["\0"]}, reason="I looked"
        )
    assert waiting(run).status == "waiting"


def test_a_drained_process_hands_back_what_it_could_not_end(begin, engine, hold, settings):
    settings.WORKER_DRAIN_SECONDS = 0.1
    run = begin("  a: {agent: hold}\n  b: {agent: once}\n  c: {agent: echo, needs: [a]}\n")
    engine.look()
    until(lambda: len(hold.calls) == 2)
    engine.stop()
    run = assert_sound(run.pk)
    assert statuses(run) == {"a": "ready", "b": "uncertain", "c": "blocked"}
    assert step(run, "a").attempt == 0


def test_a_deaf_call_is_handed_back_at_the_end_of_the_grace_time(begin, engine, hold, settings):
    settings.WORKER_DRAIN_SECONDS = 0.1
    hold.deaf = True
    run = begin("  a: {agent: hold}\n  b: {agent: once}\n")
    engine.look()
    until(lambda: len(hold.calls) == 2)
    engine.stop()
    assert statuses(assert_sound(run.pk)) == {"a": "ready", "b": "uncertain"}
