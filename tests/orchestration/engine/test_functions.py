"""The functions of SQL themselves: locks, claims, fences."""

import threading

from django.db import connection, transaction

from orchestration.models import Run
from tests.harness import assert_sound, claim, end, make_worker
from tests.orchestration.engine.looks import step, types


def test_a_run_locked_elsewhere_is_busy_and_holds_up_no_other(begin, committed):
    worker = make_worker()
    first, second = begin("  a: {agent: echo}\n"), begin("  a: {agent: echo}\n")
    claims = {claimed[0]: claimed for claimed in claim(worker, 2)}
    assert set(claims) == {first.pk, second.pk}
    locked, done = threading.Event(), threading.Event()

    def hold_lock():
        with transaction.atomic():
            Run.objects.select_for_update().get(pk=first.pk)
            locked.set()
            done.wait(10)
        connection.close()

    thread = threading.Thread(target=hold_lock)
    thread.start()
    locked.wait(10)
    assert end(worker, claims[second.pk]) == []
    assert end(worker, claims[first.pk]) == ["busy"]
    done.set()
    thread.join()
    assert end(worker, claims[first.pk]) == []
    assert {assert_sound(run.pk).status for run in (first, second)} == {"completed"}


def test_a_claim_takes_no_more_than_wanted_and_follows_rank(begin, committed):
    worker = make_worker()
    runs = [begin("  a: {agent: echo}\n  b: {agent: echo}\n").pk for _ in range(3)]
    assert sorted(claimed[:2] for claimed in claim(worker, 3)) == [(runs[0], 1), (runs[0], 2), (runs[1], 1)]
    assert len(claim(worker, 99)) == 3
    assert claim(worker, 99) == []


def test_a_second_end_under_the_same_fence_is_late(begin, committed):
    worker = make_worker()
    run = begin("  a: {agent: echo}\n")
    (claimed,) = claim(worker)
    assert end(worker, claimed, output={"value": 1}) == []
    assert end(worker, claimed, output={"value": 2}) == ["late"]
    run = assert_sound(run.pk)
    assert (step(run, "a").output, types(run)[-1]) == ({"value": 1}, "step.late_result")
