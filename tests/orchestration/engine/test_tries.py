"""How often a step is tried, how long each try may take, and what is between them."""

import pytest
from django.db import OperationalError

from agents.exceptions import Canceled, Temporary
from orchestration.engine import hands, retries
from orchestration.models import Event
from tests.harness import assert_sound, until
from tests.orchestration.engine.looks import step, types, waiting


def test_temporary_failures_are_tried_again_with_back_off(begin, engine_later, finished, settings):
    settings.WORKER_SWEEP_SECONDS = 3600  # its thread sleeps until the nearest timer, however seldom it looks
    run = begin(
        """
  a:
    agent: echo
    with: {value: 7, fail: {times: 2}}
    retry: {attempts: 3, backoff: 20ms, factor: 2, max: 1s, jitter: 0}
"""
    )
    engine_later()
    run = finished(run)
    assert (run.status, step(run, "a").attempt, step(run, "a").error) == ("completed", 3, None)
    assert types(run) == [
        "run.started",
        *["step.started", "step.retrying", "step.ready"] * 2,
        "step.started",
        "step.completed",
        "run.completed",
    ]
    first, second, third = [
        event.at for event in Event.objects.filter(run_id=run.pk, type="step.started").order_by("seq")
    ]
    assert (second - first).total_seconds() >= 0.02
    assert (third - second).total_seconds() >= 0.04


def test_the_last_try_fails_the_step_with_its_class(begin, engine, finished):
    run = begin("  a: {agent: echo, with: {fail: {times: 9}}, retry: {attempts: 2, backoff: 10ms}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"], step(run, "a").attempt) == ("failed", "temporary", 2)


def test_a_longer_retry_after_is_obeyed_and_the_key_stays(begin, engine_later, finished, hold, settings):
    settings.WORKER_SWEEP_SECONDS = 3600
    hold.go.set()
    hold.errors = [Temporary("busy", retry_after=0.3)]
    run = begin("  a: {agent: hold, retry: {attempts: 2, backoff: 1ms, max: 5ms}}\n")
    engine_later()
    run = finished(run)
    first, second = [event.at for event in Event.objects.filter(run_id=run.pk, type="step.started").order_by("seq")]
    assert (second - first).total_seconds() >= 0.3
    assert hold.calls == [f"{run.public_id}:a:1"] * 2


@pytest.mark.parametrize("seconds", [1e12, 3e9, float("inf"), float("nan"), -5.0])
def test_a_retry_after_is_obeyed_within_bounds(begin, engine, finished, hold, settings, seconds):
    settings.LONGEST_RETRY_AFTER_SECONDS = 0.2
    hold.go.set()
    hold.errors = [Temporary("busy", retry_after=seconds)]
    run = begin("  a: {agent: hold, retry: {attempts: 2, backoff: 1ms, max: 5ms}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, len(hold.calls)) == ("completed", 2)


def test_a_step_that_waits_for_its_next_try_holds_nothing(begin, engine):
    run = begin("  a: {agent: echo, with: {fail: {times: 1}}, retry: {attempts: 2, backoff: 1h, max: 2h}}\n")
    engine.look()
    run = waiting(run)
    assert (step(run, "a").waits_for, step(run, "a").owner) == ("retry", None)


def test_a_step_past_its_timeout_fails_as_timeout(begin, engine, finished):
    run = begin("  a: {agent: echo, with: {seconds: 60}, timeout: 100ms}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "timeout")


def test_a_hung_call_is_given_up_and_what_it_brings_later_is_late(begin, engine, hold, finished, monkeypatch):
    monkeypatch.setattr(hands, "HUNG_GRACE_SECONDS", 0.1)
    hold.deaf = True
    run = begin("  a: {agent: hold, timeout: 100ms}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "timeout")
    hold.go.set()
    until(lambda: types(run)[-1] == "step.late_result")
    assert assert_sound(run.pk).status == "failed"
    until(lambda: engine.process.hands.free() == 8)


def test_a_call_in_which_the_database_always_fails_is_tried_again_only_so_often(
    begin, engine, hold, finished, monkeypatch
):
    monkeypatch.setitem(retries.DATABASE_LOST, "backoff", 0.001)
    hold.go.set()
    hold.errors = [OperationalError("canceling statement due to lock timeout") for _ in range(99)]
    run = begin("  a: {agent: hold}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"], len(hold.calls)) == ("failed", "temporary", 10)
    assert types(run).count("step.retrying") == 9


def test_a_call_in_which_the_database_failed_is_uncertain_if_it_may_not_be_repeated(begin, engine, hold):
    hold.go.set()
    hold.errors = [OperationalError("lost")]
    run = begin("  a: {agent: once}\n")
    engine.look()
    run = waiting(run)
    assert (step(run, "a").status, len(hold.calls)) == ("uncertain", 1)


def test_a_call_that_stops_and_was_not_asked_to_fails(begin, engine, hold, finished):
    hold.go.set()
    hold.errors = [Canceled("I do not want to") for _ in range(99)]
    run = begin("  a: {agent: hold}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"], len(hold.calls)) == ("failed", "permanent", 1)
