"""What a step costs the database. Of its commits the rows tell: each event carries the transaction that wrote it."""

from django.db import connections, transaction

from config.chaos.cutting import PORT
from orchestration.engine.connection import rows, value
from tests.harness import claim, flush, make_worker, race, sweep

COMMITS = "select count(distinct xmin::text) from orchestration_event where run_id = any(%s)"
CHAIN = "  s0: {agent: echo}\n" + "".join(f"  s{n}: {{agent: echo, needs: [s{n - 1}]}}\n" for n in range(1, 10))


def test_a_sequential_step_alone_costs_one_commit(begin, engine, finished):
    run = finished(begin(CHAIN))
    assert value(COMMITS, [[run.pk]]) == 1 + 1 + 10  # its start, the claim of the first step, and the end of each


def test_steps_of_many_runs_share_commits(begin, engine_later, finished):
    begun = [begin(CHAIN) for _ in range(20)]
    engine_later()
    for run in begun:
        assert finished(run).status == "completed"
    assert value(COMMITS, [[run.pk for run in begun]]) - len(begun) < len(begun) * 10


def test_a_step_costs_one_round_trip_alone_and_less_than_one_among_others(
    begin, cutter, engine_later, finished, monkeypatch
):
    run = begin(CHAIN)
    with monkeypatch.context() as through:
        for name, given in (("HOST", str(cutter.folder)), ("PORT", PORT)):
            through.setitem(connections.settings["default"], name, given)
        engine_later()
        finished(run)  # by now the engine's threads have their connections
    recorded = b"engine_flush"

    def trips(count):
        before = cutter.round_trips(recorded)
        with transaction.atomic():  # all of them at once
            begun = [begin(CHAIN) for _ in range(count)]
        for run in begun:
            finished(run)
        return cutter.round_trips(recorded) - before

    looks = 5  # for work that others hinted at, or that a sweep found
    assert 10 < trips(1) <= 1 + 10 + looks
    assert trips(20) < 20 * 10


READ = """
select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_xact_user_tables
where relname = 'orchestration_run' or relname ~ '^orchestration_step_[0-9]+$'
"""


def test_a_plan_made_while_the_tables_were_short_reads_no_more_of_long_ones(begin, committed):
    text = f"name: chain\nsteps:\n{CHAIN}"
    worker = make_worker()

    def rows_read_by_two_steps():
        with transaction.atomic():
            before = value(READ)
            (step,) = claim(worker)
            (next_step,) = [row[2:5] for row in flush(worker, step, follow=True, output={}) if row[1] == "claimed"]
            flush(worker, next_step)
            return value(READ) - before

    def grow(_):
        begin(text)
        rows("analyze orchestration_run, orchestration_step")
        short = rows_read_by_two_steps()
        for _ in range(50):
            begin(text)
        return short, rows_read_by_two_steps()

    (((short, long),),) = race(1, grow)
    assert 0 < short <= long < short + 30  # of the ready ones a claim looks at eight, however many there are


TIMED = """name: timed
steps:
  a: {agent: echo, timeout: {step: 1d}}
  b: {wait: {for: 9h}}
timeout: 3d
expect: {within: 2d}
"""
WAITS = """
update orchestration_step
set status = 'waiting', wake_at = now() + interval '1 day', expect_at = now() + interval '1 day'
where name = 'b'
"""


def test_a_sweep_reads_no_more_when_there_is_more_that_waits_for_its_time(begin, committed):
    worker = make_worker()

    def rows_read():
        with transaction.atomic():
            before = value(READ)
            sweep(worker)
            return value(READ) - before

    def grow(_):
        begin(TIMED)
        short = rows_read()
        for _ in range(60):
            begin(TIMED)
        rows(WAITS)
        grown = rows_read()  # by the plan that was made then
        rows("analyze orchestration_run, orchestration_step")
        return short, grown, rows_read()

    (((short, grown, analyzed),),) = race(1, grow)
    assert 0 < short <= grown < short + 10
    assert 0 < analyzed < short + 10
