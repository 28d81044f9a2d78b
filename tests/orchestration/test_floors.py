"""What claims, clocks and sweeps pass over: all that was ready, or ran, while an old snapshot is held."""

import contextlib

import pytest
from django.db import connection, transaction

from orchestration.engine.connection import rows, value
from orchestration.engine.deadlines import stop_overdue
from orchestration.engine.levers import pausing
from tests.harness import claim, end, end_lease, make_worker, race, sweep

ONE = "name: one\nsteps:\n  a: {agent: echo}\n"
PRESSING = "name: pressing\npriority: '${{ input.priority }}'\nsteps:\n  a: {agent: echo}\n"
LOOK = "update orchestration_queuefloor set look_at = clock_timestamp() + make_interval(secs => %s)"
ENTRIES = """
select sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) from pg_index i join pg_class c on c.oid = i.indrelid
where c.relname ~ %s
"""
STEPS, RUNS = "^orchestration_step_[0-9]+$", "^orchestration_run$"


@pytest.fixture
def worker(committed):
    return make_worker()


@pytest.fixture
def begun(begin, worker):
    """So many runs, one after the other, whose only step has ended."""

    def begun(count):
        for _ in range(count):
            begin(ONE)
            (step,) = claim(worker)
            assert end(worker, step) == []

    return begun


def raise_floors(worker):
    """What three sweeps do in a second or two: the first sees, the second has seen before, the third goes by it."""
    for _ in range(3):
        rows(LOOK, [0])
        sweep(worker)


def floors():
    return dict(rows("select queue, floor from orchestration_queuefloor"))


def entries_of_a_claim(worker):
    """Entries of the steps' indexes that a claim reads which finds nothing."""
    with transaction.atomic():
        before = value(ENTRIES, [STEPS])
        assert claim(worker, 64) == []
        return value(ENTRIES, [STEPS]) - before


@contextlib.contextmanager
def old_snapshot():
    reader = connection.copy()
    try:
        reader.set_autocommit(False)
        with reader.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read")
            cursor.execute("set idle_in_transaction_session_timeout = 0")  # else a lease
            cursor.execute("select count(*) from orchestration_worker")
        yield
    finally:
        reader.close()


def test_a_claim_passes_over_what_an_old_snapshot_keeps(begin, begun, worker):
    def held(_):
        begun(1)
        entries_of_a_claim(worker)  # it has its plans
        before = entries_of_a_claim(worker)
        with old_snapshot():
            begun(100)
            kept = entries_of_a_claim(worker)
            raise_floors(worker)
            return before, kept, entries_of_a_claim(worker)

    (((before, kept, passed),),) = race(1, held)
    assert kept >= 100 > 10 > before
    assert passed < 10


def test_what_is_ready_below_the_floor_is_found_by_the_next_sweep(begin, begun, worker):
    begun(70)
    raise_floors(worker)
    (queue,) = floors()
    assert floors() == {queue: 70}
    run = begin(ONE)  # as if who gave its rank had read the clock long ago, and committed now
    rows("update orchestration_step set rank = 3 where run_id = %s", [run.pk])
    assert claim(worker) == []
    rows(LOOK, [0])
    assert sweep(worker)["ready"]
    assert floors() == {queue: 3}
    ((found, _, _),) = claim(worker)
    assert found == run.pk


def test_a_floor_is_what_an_earlier_sweep_saw_and_rises_in_steps(begin, begun, worker):
    begun(70)
    sweep(worker)
    (queue,) = floors()
    begun(80)
    rows(LOOK, [60])
    sweep(worker)  # too soon after the first
    assert floors() == {queue: 0}
    for seen in (70, 150):
        rows(LOOK, [0])
        sweep(worker)
        assert floors() == {queue: seen}
    begun(10)
    rows(LOOK, [0])
    sweep(worker)  # too little to be worth a row
    assert floors() == {queue: 150}


def test_a_floor_stays_below_what_is_ready_and_a_paused_run_comes_back_above_it(begin, begun, worker, members):
    begun(70)
    paused = begin(ONE)
    pausing.pause(paused, by=members.operator, reason="later")
    first = begin(ONE)
    begun_after = [begin(ONE) for _ in range(80)]
    raise_floors(worker)
    assert set(floors().values()) == {value("select rank from orchestration_step where run_id = %s", [first.pk])}
    for _ in begun_after:
        (step,) = claim(worker)
        end(worker, step)
    raise_floors(worker)
    pausing.resume(paused, by=members.operator, reason="now")
    assert {run for run, _, _ in claim(worker, 9)} == {begun_after[-1].pk, paused.pk}


@pytest.mark.parametrize("priority", [-5, 5])
def test_a_floor_stays_below_the_clock_of_what_has_another_priority(begin, begun, worker, priority):
    other = begin(PRESSING, {"priority": priority})
    for _ in range(70):
        rows("update orchestration_step set priority = -32768 where run_id = %s", [other.pk])  # as if it were locked
        begun(1)
    rows("update orchestration_step set priority = %s where run_id = %s", [priority, other.pk])
    raise_floors(worker)
    rows("delete from orchestration_fairshare")  # as of one who has started nothing yet, and begins at the clock
    run = begin(ONE)
    assert {found for found, _, _ in claim(worker, 9)} == {run.pk, other.pk}


def test_after_a_look_that_raised_the_floor_nobody_looks_for_a_while(begin, begun, worker):
    begun(70)
    rows(LOOK, [0])
    before = value("select clock_timestamp()")
    sweep(worker)
    assert (value("select look_at from orchestration_queuefloor") - before).total_seconds() >= 0.4


def test_what_is_ready_in_a_queue_that_has_no_floor_is_told(begin, worker, committed):
    rows("insert into orchestration_queuefloor (queue, floor, seen) values ('a', 0, 0), ('z', 0, 0)")
    assert not sweep(worker)["ready"]
    begin(ONE)
    rows("delete from orchestration_fairshare")
    assert sweep(worker)["ready"]


def test_priorities_above_and_below_the_usual_one_have_no_floor(begin, begun, worker):
    begun(70)
    raise_floors(worker)
    runs = {priority: begin(PRESSING, {"priority": priority}).pk for priority in (-7, 0, 7, -8, 8)}
    rows("update orchestration_step set rank = 1 where run_id = any(%s) and priority <> 0", [list(runs.values())])
    found = [claim(worker)[0][0] for _ in runs]
    assert found == [runs[priority] for priority in (8, 7, 0, -7, -8)]


def test_who_is_dead_and_owns_nothing_is_not_looked_at_again(begin, worker):
    begin(ONE)
    dead = make_worker()
    (step,) = claim(dead)
    end_lease(dead)
    cleared = "select cleared_at is not null from orchestration_worker where id = %s"
    with transaction.atomic():
        rows("select from orchestration_run where id = %s for update", [step[0]])
        assert race(1, lambda _: sweep(worker)["swept"]) == [[0]]  # its run is locked
    assert not value(cleared, [dead])
    assert sweep(worker)["swept"] == 1
    assert value(cleared, [dead])
    assert not value(cleared, [worker])
    assert claim(worker)[0][:2] == step[:2]


@pytest.mark.parametrize("look", [sweep, lambda _: stop_overdue()], ids=["sweep", "deadlines"])
def test_who_looks_for_runs_by_their_times_passes_over_those_that_an_old_snapshot_keeps(begun, worker, look):
    def held(_):
        begun(10)
        assert not value("select count(*) from orchestration_run where ended_at is null")
        rows("analyze orchestration_run")  # none is open, as far as plans know
        with old_snapshot():
            begun(100)
            with transaction.atomic():
                before = value(ENTRIES, [RUNS])
                look(worker)
                return value(ENTRIES, [RUNS]) - before

    ((read,),) = race(1, held)
    assert read < 10
