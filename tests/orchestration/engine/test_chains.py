"""What is plain is moved by one statement. It writes what the general way writes, and leaves it what is not plain."""

import json

import pytest

from orchestration.engine.connection import rows, value
from orchestration.engine.recovery import FLUSH
from orchestration.models import Run
from tests.harness import QUEUES, assert_sound, claim, make_worker

STEPS = {
    "a chain": "a: {agent: echo}, b: {agent: echo, needs: [a]}, c: {agent: echo, needs: [b]}",
    "two that wait for one": "a: {agent: echo}, b: {agent: echo, needs: [a]}, c: {agent: echo, needs: [a]}",
    "one that waits for two": "a: {agent: echo}, b: {agent: echo}, c: {agent: echo, needs: [a, b]}",
    "one that needs any of two": "a: {agent: echo}, b: {agent: echo}, c: {agent: echo, needs: {any: [a, b]}}",
    "time limits": "a: {agent: echo, timeout: 30s}, b: {agent: echo, needs: [a], timeout: {step: 1h, queue: 5m}}",
    "a promise": "a: {agent: echo}, b: {agent: echo, needs: [a], expect: {within: 1h}}",
    "a limit": "a: {agent: echo, concurrency: {max: 1}}, b: {agent: echo, needs: [a], concurrency: {max: 1}}",
    "one for a failure": "a: {agent: echo, on_failure: b}, b: {agent: echo, needs: [a]}, c: {agent: echo, needs: [a]}",
    "a wait": "a: {agent: echo}, b: {wait: {for: 1h}, needs: [a]}, c: {agent: echo, needs: [b]}",
    "a map": 'a: {agent: echo}, b: {agent: echo, needs: [a], map: {over: "${{ [1, 2] }}", as: x}}',
    "a checkpoint": "a: {agent: echo}, b: {approval: {title: t}, needs: [a]}",
}
ONE = [{"kind": "steps", "key": "k", "max": 9, "units": 1}]
FIELDS = {
    "nothing": {},
    "values": {"input": {"a": 1}, "output": {"b": [2, None]}, "usage": {"tokens": 3}, "note": {"cached": True}},
    "large values": {"input_digest": "ab" * 32, "output_digest": "cd" * 32},
}
# What differs from run to run, and how it is left out; of times, whether there are such.
TIMES = ["started_at", "ended_at", "first_at", "total_at", "deadline_at", "expect_at"]
OWN = ["id", "public_id", "definition_version_id", "run_id", "rank", "at", "created_at", "owner", *TIMES]
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
    return f"name: {name.replace(' ', '-')}\nsteps: {{{STEPS[name]}}}\n"


def item(step, n=1, **fields):
    run, key, fence = step
    return {"n": n, "run": run, "key": key, "fence": fence, "was": "running", "outcome": "completed", **fields}


def flush(worker, items):
    runs = sorted({each["run"] for each in items})
    follow = json.dumps(dict.fromkeys(runs, 1))
    found = rows(FLUSH, [worker, runs, json.dumps(items), follow, 0, QUEUES, False])
    return [row[2:5] for row in found if row[1] == "claimed"]


def statements(run):
    """In how many statements the newest transaction moved the run's steps."""
    return value(
        "select count(distinct cmin::text) from orchestration_step where run_id = %s and xmin::text ="
        " (select xmin::text from orchestration_run where id = %s)",
        [run, run],
    )


def walk(run, worker, **fields):
    """End what was claimed, and what that lets begin, as far as it goes; how many moves were one statement's."""
    open_, chained = [step for step in claim(worker, 3) if step[0] == run.pk], 0
    while open_:
        done = open_.pop(0)
        if value("select limited from orchestration_step where run_id = %s and key = %s", done[:2]):
            rows("select engine_acquire_v1(%s, %s, %s, %s, %s)", [run.organization_id, *done, json.dumps(ONE)])
        begun = flush(worker, [item(done, **fields)])
        chained += bool(begun) and statements(run.pk) == 1
        open_ += begun
    return chained


def written(run):
    return [found and json.loads(found) for found in rows(WRITTEN, {"run": run.pk, "own": OWN, "times": TIMES})[0]]


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("name", STEPS)
def test_one_statement_writes_what_the_general_way_writes(begin, committed, name, fields):
    worker = make_worker()
    text = of(name)
    found = []
    for more in ({}, {"more": {}}):  # with such a field, an item goes the general way
        run = begin(text)
        chained = walk(run, worker, **fields, **more)
        assert chained == 0 if more else chained > 0 or name != "a chain"
        rows("update orchestration_step set status = 'canceled' where run_id = %s and status = 'ready'", [run.pk])
        found.append(written(run))
    assert found[0] == found[1]


def test_a_batch_of_plain_and_other_steps(begin, committed):
    worker = make_worker()
    plain, other, late = (begin(of(name)) for name in ("a chain", "two that wait for one", "a chain"))
    claimed = {step[0]: step for step in claim(worker, 3)}
    gone = (*claimed[late.pk][:2], claimed[late.pk][2] + 1)  # under a fence that it does not have
    items = [item(claimed[plain.pk], 1), item(claimed[other.pk], 2), item(gone, 3)]
    begun = flush(worker, items)
    assert sorted(step[:2] for step in begun) == [(plain.pk, 2), (other.pk, 2)]
    assert statements(plain.pk) == 1
    assert flush(worker, items) == []  # late, all of them
    walk(plain, worker)
    while begun:
        begun = [step for done in begun for step in flush(worker, [item(done)])]
    assert assert_sound(plain.pk).status == "completed"
    assert Run.objects.get(pk=late.pk).status == "running"


def test_two_steps_of_a_run_in_one_batch(begin, committed):
    worker = make_worker()
    run = begin("".join(f"  {a}: {{agent: echo}}\n  {a}{a}: {{agent: echo, needs: [{a}]}}\n" for a in "xy"))
    claimed = claim(worker, 2)
    flush(worker, [item(step, n) for n, step in enumerate(claimed)])
    events = rows("select seq, type from orchestration_event where run_id = %s order by seq", [run.pk])
    assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
    assert sorted(kind for _, kind in events).count("step.completed") == 2


def test_a_canceling_or_paused_run_begins_nothing(begin, committed):
    worker = make_worker()
    for status in ("canceling", "paused"):
        run = begin(of("a chain"))
        (step,) = claim(worker, 1)
        rows("update orchestration_run set status = %s where id = %s", [status, run.pk])
        assert flush(worker, [item(step)]) == []
