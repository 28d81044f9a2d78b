"""What is plain is moved by one statement, or alone by a few short ones. Both write what the general way writes, and
leave it what is not plain."""

import json
from itertools import pairwise

import pytest
from django.db import transaction

from orchestration.engine.connection import rows, value
from orchestration.engine.outcomes import Claim
from orchestration.engine.recorder import FLUSH_ONE
from orchestration.engine.recovery import FLUSH
from orchestration.models import Run
from tests.harness import QUEUES, assert_sound, claim, make_worker, race

STEPS = {
    "a chain": "a: {agent: echo}, b: {agent: echo, needs: [a]}, c: {agent: echo, needs: [b]}",
    "two that wait for one": "a: {agent: echo}, b: {agent: echo, needs: [a]}, c: {agent: echo, needs: [a]}",
    "one that waits for two": "a: {agent: echo}, b: {agent: echo}, c: {agent: echo, needs: [a, b]}",
    "one that needs any of two": "a: {agent: echo}, b: {agent: echo}, c: {agent: echo, needs: {any: [a, b]}}",
    "time limits": "a: {agent: echo, timeout: 30s}, b: {agent: echo, needs: [a], timeout: {step: 1h, queue: 5m}}",
    "a promise": "a: {agent: echo}, b: {agent: echo, needs: [a], expect: {within: 1h}}",
    "a limit": "a: {agent: echo, concurrency: {max: 1}}, b: {agent: echo, needs: [a], concurrency: {max: 1}}",
    "a limit of the first": "a: {agent: echo, concurrency: {max: 1}}, b: {agent: echo, needs: [a]}",
    "a limit of the second": "a: {agent: echo}, b: {agent: echo, needs: [a], concurrency: {max: 1}}",
    "one for a failure": "a: {agent: echo, on_failure: b}, b: {agent: echo, needs: [a]}, c: {agent: echo, needs: [a]}",
    "a wait": "a: {agent: echo}, b: {wait: {for: 1h}, needs: [a]}, c: {agent: echo, needs: [b]}",
    "a map": 'a: {agent: echo}, b: {agent: echo, needs: [a], map: {over: "${{ [1, 2] }}", as: x}}',
    "a checkpoint": "a: {agent: echo}, b: {approval: {title: t}, needs: [a]}",
    "a reader": 'a: {agent: echo}, b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output }}"}}',
    "an output": "a: {agent: echo}",
    "a budget": "a: {agent: echo}, b: {agent: echo, needs: [a]}",
    "a limit of runs": "a: {agent: echo}, b: {agent: echo, needs: [a]}",
}
BESIDE = {
    "an output": 'output: {b: "${{ steps.a.output }}"}\n',
    "a budget": "budget: {usd: 1}\n",
    "a limit of runs": "concurrency: {max: 9}\n",
}
ONE = [{"kind": "steps", "key": "k", "max": 9, "units": 1}]
FIELDS = {
    "nothing": {},
    "values": {"input": {"a": 1}, "output": {"b": [2, None]}, "usage": {"tokens": 3}, "note": {"cached": True}},
    "large values": {"input_digest": "ab" * 32, "output_digest": "cd" * 32},
}
# What differs from run to run, and how it is left out; of times, whether there are such.
TIMES = ["started_at", "ended_at", "first_at", "total_at", "deadline_at", "expect_at"]
OWN = ["id", "public_id", "definition_version_id", "run_id", "rank", "at", "created_at", "owner", "budgets", *TIMES]
ITS_OWN = {"run", "public_id", "definition_version"}  # of a claim
WRITTEN = """
select (select to_jsonb(r) - %(own)s::text[] from orchestration_run r where id = %(run)s),
    (select jsonb_agg(to_jsonb(s) - %(own)s::text[] || jsonb_build_object('times',
        (select jsonb_object_agg(key, value <> 'null') from jsonb_each(to_jsonb(s))
         where key = any (%(times)s))) order by key)
     from orchestration_step s where run_id = %(run)s),
    (select jsonb_agg(jsonb_build_array(key, stirred_at is null) order by key) from orchestration_limitslot
     where run_id = %(run)s),
    (select jsonb_agg(to_jsonb(e) - %(own)s::text[] order by seq) from orchestration_event e where run_id = %(run)s)
"""


def of(name):
    return f"name: {name.replace(' ', '-')}\nsteps: {{{STEPS[name]}}}\n{BESIDE.get(name, '')}"


def item(step, n=1, **fields):
    run, key, fence = step
    return {"n": n, "run": run, "key": key, "fence": fence, "was": "running", "outcome": "completed"} | fields


def flush(worker, items, queues=QUEUES):
    runs = sorted({each["run"] for each in items})
    follow = json.dumps(dict.fromkeys(runs, 1))
    return claims_in(rows(FLUSH, [worker, runs, json.dumps(items), follow, 0, queues, False]))


def flush_one(worker, items, queues=QUEUES):
    (given,) = items
    return claims_in(rows(FLUSH_ONE, [worker, given["run"], json.dumps(given), queues]))


def claims_in(found):
    return [Claim.of(row) for row in found if row[1] == "claimed"]


WRITTEN_IN = {flush: 1, flush_one: 5}  # statements; in the general way two or three
ENDED_IN = {"output": 3, "agent": 4}  # with a run, alone; in the general way one less


def statements(run):
    """In how many statements the newest transaction wrote what happened to the run."""
    return value(
        "select count(distinct w.at::text) from orchestration_run r cross join lateral ("
        " select r.xmin, r.cmin union all"
        " select s.xmin, s.cmin from orchestration_step s where s.run_id = r.id union all"
        " select e.xmin, e.cmin from orchestration_event e where e.run_id = r.id) w(by, at)"
        " where r.id = %s and w.by = r.xmin",
        [run],
    )


def walk(run, worker, by=flush, **fields):
    """End what was claimed, and what that lets begin, as far as it goes. What was claimed on the way, and how many
    moves did not go the general way."""
    open_, claims, short = [step for step in claim(worker, 3) if step[0] == run.pk], [], 0
    while open_:
        done = open_.pop(0)
        if value("select limited from orchestration_step where run_id = %s and key = %s", done[:2]):
            rows("select engine_acquire_v1(%s, %s, %s, %s, %s)", [run.organization_id, *done, json.dumps(ONE)])
        begun = by(worker, [item(done, **fields)])
        short += bool(begun) and statements(run.pk) == WRITTEN_IN[by]
        open_ += [each.place for each in begun]
        own = f'"budgets": [{run.pk}]'
        claims += [
            {name: str(getattr(each, name)).replace(own, "") for name in Claim.__slots__ if name not in ITS_OWN}
            for each in begun
        ]
    return claims, short


def written(run):
    return [found and json.loads(found) for found in rows(WRITTEN, {"run": run.pk, "own": OWN, "times": TIMES})[0]]


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("name", STEPS)
def test_the_short_ways_write_what_the_general_way_writes(begin, committed, name, fields):
    worker = make_worker()
    text = of(name)
    found = []
    for by in (flush, flush_one):
        for more in ({}, {"more": {}}):  # with such a field, an item goes the general way
            run = begin(text)
            # As if a worker had died with each.
            rows("update orchestration_step set lost = 1 where run_id = %s", [run.pk])
            claims, short = walk(run, worker, by, **fields, **more)
            assert short == 0 if more else short > 0 or name != "a chain"
            rows("update orchestration_step set status = 'canceled' where run_id = %s and status = 'ready'", [run.pk])
            found.append((claims, written(run)))
    assert found == [found[0]] * 4


LAST = """
select s.kind, r.open_steps = 1 from orchestration_step s join orchestration_run r on r.id = s.run_id
where s.run_id = %s and s.key = %s
"""
BESIDE_IT = """
insert into orchestration_step select (jsonb_populate_record(s, '{"owner": null, %s}')).* from orchestration_step s
where s.run_id = %%s and s.key = 1
"""
OUTPUT = '"kind": "output", "status": "completed", "output": {"c": 1}'
UNDO = '"key": 9, "kind": "undo", "undoes": 1, "status": "failed"'
UNDOES = "with undoing as (update orchestration_run set reversible = true, undoing = true where id = %s returning id)"
AS_IF = {
    "it had failed": 'update orchestration_run set error = \'{"class": "permanent"}\' where id = %s',
    "more of it were open": "update orchestration_run set open_steps = 2 where id = %s",
    "there were a newer output": BESIDE_IT % f'"key": 9, {OUTPUT}',
    "there were an older output": BESIDE_IT % f'"key": 0, {OUTPUT}',
    "not all could be undone": UNDOES + (BESIDE_IT % UNDO).replace("%s", "(select id from undoing)"),
}


@pytest.mark.parametrize("if_", [None, *AS_IF.values()], ids=["nothing else", *AS_IF])
@pytest.mark.parametrize("name", ["a chain", "an output"])
def test_a_run_ends_alone_as_it_ends_in_the_general_way(begin, committed, name, if_):
    worker = make_worker()
    found = []
    for by in (flush, flush_one):
        run = begin(of(name))
        (step,) = claim(worker)
        while step:
            kind, is_last = rows(LAST, step[:2])[0]
            if is_last and if_:
                rows(if_, [run.pk])
            step = next((claim.place for claim in by(worker, [item(step, output={"b": 1})])), None)
        if if_ is None:
            assert (statements(run.pk) == ENDED_IN[kind]) == (by is flush_one)
        found.append(written(run))
    assert found[0] == found[1]


def test_a_batch_of_plain_and_other_steps(begin, committed):
    worker = make_worker()
    plain, other, late = (begin(of(name)) for name in ("a chain", "two that wait for one", "a chain"))
    claimed = {step[0]: step for step in claim(worker, 3)}
    gone = (*claimed[late.pk][:2], claimed[late.pk][2] + 1)  # under a fence that it does not have
    items = [item(claimed[plain.pk], 1), item(claimed[other.pk], 2), item(gone, 3)]
    begun = flush(worker, items)
    assert sorted((step.run, step.key) for step in begun) == [(plain.pk, 2), (other.pk, 2)]
    assert statements(plain.pk) == 1
    assert flush(worker, items) == []  # late, all of them
    walk(plain, worker)
    while begun:
        begun = [step for done in begun for step in flush(worker, [item(done.place)])]
    assert assert_sound(plain.pk).status == "completed"
    assert Run.objects.get(pk=late.pk).status == "running"


def test_a_flush_says_how_many_steps_it_took_from_the_queues(begin, committed):
    """What follows on the steps that it ends is not among them, of whichever run."""
    worker = make_worker()
    run = begin(of("a chain"))
    (step,) = claim(worker)
    begin(of("one that waits for two")), begin(of("a chain"))

    def told(want, *items):
        runs = [run.pk] if items else []
        found = rows(FLUSH, [worker, runs, json.dumps(items), json.dumps({run.pk: 1}), want, QUEUES, False])
        return sum(row[1] == "claimed" for row in found), [row[0] for row in found if row[1] == "taken"]

    assert told(2, item(step)) == (3, [2])
    assert told(2) == (1, [1])
    assert told(2) == (0, [])


def test_two_steps_of_a_run_in_one_batch(begin, committed):
    worker = make_worker()
    run = begin("".join(f"  {a}: {{agent: echo}}\n  {a}{a}: {{agent: echo, needs: [{a}]}}\n" for a in "xy"))
    claimed = claim(worker, 2)
    flush(worker, [item(step, n) for n, step in enumerate(claimed)])
    events = rows("select seq, type from orchestration_event where run_id = %s order by seq", [run.pk])
    assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
    assert sorted(kind for _, kind in events).count("step.completed") == 2


@pytest.mark.parametrize("by", WRITTEN_IN)
def test_a_canceling_or_paused_run_begins_nothing(begin, committed, by):
    worker = make_worker()
    for status in ("canceling", "paused"):
        run = begin(of("a chain"))
        (step,) = claim(worker, 1)
        rows("update orchestration_run set status = %s where id = %s", [status, run.pk])
        assert by(worker, [item(step)]) == []


@pytest.mark.parametrize("by", WRITTEN_IN)
def test_one_of_whose_needs_another_came_to_nothing_is_skipped(begin, committed, by):
    worker = make_worker()
    run = begin(of("one that waits for two"))
    first, second = claim(worker, 2)
    assert by(worker, [item(first, outcome="skipped")]) == []
    assert by(worker, [item(second)]) == []
    assert value("select status from orchestration_step where run_id = %s and key = 3", [run.pk]) == "skipped"


@pytest.mark.parametrize("by", WRITTEN_IN)
def test_what_this_worker_does_not_do_is_left_to_its_queue(begin, committed, by):
    worker = make_worker()
    run = begin(of("a checkpoint"))
    (step,) = claim(worker, 1)
    assert by(worker, [item(step)], ["tool"]) == []
    assert value("select status from orchestration_step where run_id = %s and key = 2", [run.pk]) == "ready"


def test_what_has_no_effect_alone(begin, committed):
    """Under another fence, of a worker that was declared dead, or while another has the run: as in a batch."""
    worker, dead = make_worker(), make_worker()
    run = begin(of("a chain"))
    (step,) = claim(worker, 1)
    rows("update orchestration_worker set dead_at = now() where id = %s", [dead])
    before = written(run)

    def verdicts(given, by=worker):
        found = rows(FLUSH_ONE, [by, run.pk, json.dumps(given), QUEUES])
        return [(row[0], row[1]) for row in found]

    def ends_while_another_has_it(_):
        return verdicts(item(step, 7))

    with transaction.atomic():
        rows("select from orchestration_run where id = %s for update", [run.pk])
        assert race(1, ends_while_another_has_it) == [[[(7, "busy")]]]
    assert written(run) == before
    assert verdicts(item((*step[:2], step[2] + 1), 8)) == [(8, "late")]
    assert value("select status from orchestration_step where run_id = %s and key = %s", step[:2]) == "running"
    assert verdicts(item(step, 9), dead) == [(1, "ready:tool")]  # it ended in time; the next one is left to the queue
    assert value("select status from orchestration_step where run_id = %s and key = 2", [run.pk]) == "ready"


READ = """
select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_xact_user_tables
where relname ~ '^orchestration_step_[0-9]+$'
"""
COPIES = """
insert into orchestration_step
select (jsonb_populate_record(s, jsonb_build_object('run_id', s.run_id + n))).*
from orchestration_step s cross join generate_series(1001, 101000) n where s.run_id = %s
"""
LONG = "".join(
    f'  s{n}: {{agent: echo, needs: [s{n - 1}], with: {{value: "${{{{ steps.s{n - 1}.output.value }}}}"}}}}\n'
    for n in range(1, 80)
)


def test_what_a_step_reads_is_found_without_a_look_at_all_others_of_its_run(begin, committed):
    """Where most runs are short, a planner before PostgreSQL 17 reads all steps of a run for a few."""
    short = begin("name: short\nsteps: {a: {agent: echo}}\n")
    rows("update orchestration_step set status = 'skipped'")
    rows(COPIES, [short.pk])
    rows("analyze orchestration_run, orchestration_step")
    begin(f"name: long\nsteps:\n  s0: {{agent: echo}}\n{LONG}")
    worker = make_worker()

    def ten_steps_by_each(_):
        with transaction.atomic():
            (step,), read = claim(worker), [value(READ)]
            for by in (flush, flush_one):
                for _ in range(10):
                    (begun,) = by(worker, [item(step, output={"value": 1})])
                    step = begun.place
                read.append(value(READ))
            return [more - before for before, more in pairwise(read)]

    ((read,),) = race(1, ten_steps_by_each)
    assert max(read) < 10 * 20


def test_the_last_step_of_a_run_ends_it_without_a_look_at_all_others(begin, committed):
    worker = make_worker()
    long = begin(f"name: long\nsteps:\n  s0: {{agent: echo}}\n{LONG}output: ${{{{ steps.s79.output.value }}}}\n")

    def by_the_last(_):
        with transaction.atomic():
            (step,), read = claim(worker), []
            while step:
                before = value(READ)
                step = next((claim.place for claim in flush_one(worker, [item(step, output={"value": 1})])), None)
                read.append(value(READ) - before)
            return read

    ((read,),) = race(1, by_the_last)
    assert Run.objects.get(pk=long.pk).status == "completed"
    assert (len(read), read[-1] < 20) == (81, True), read
