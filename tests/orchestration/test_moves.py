"""What moves do with steps that are not plain: each need by itself, any or n of them, heads and their items, times."""

import json
from datetime import UTC, datetime
from itertools import permutations

import pytest
from django.db import transaction

from orchestration.engine.connection import rows, value
from orchestration.engine.recovery import FLUSH
from orchestration.language.plan import HIGHEST_LEVEL
from orchestration.models import DefinitionVersion, Event, Run, Step
from tests.harness import QUEUES, claim, end, make_worker, sweep

OLD_CLAIM = "select * from engine_{0}(%s, '{{}}', '[]', '{{}}', 10, %s::text[], false)"
OLD_FLUSH = "select * from engine_flush_v2(%s, array[%s]::bigint[], %s::jsonb, '{}', 0, null, false)"
ITEM = """
insert into orchestration_step (run_id, key, position, name, index, kind, queue, status, open_needs, dependants, reads,
    tolerant, repeatable, agent_version_id, head, windowed, forgiven)
select h.run_id, 100 + n, h.position, h.name, n, 'agent', h.queue,
    case when n < %(running)s then 'ready' else 'blocked' end, (n >= %(running)s)::int, array[h.key], '{}',
    true, true, h.agent_version_id, h.key, true, true
from orchestration_step h, generate_series(0, %(items)s - 1) n where h.run_id = %(run)s and h.key = 1
"""
HEAD = """
update orchestration_step set first_item = 100, item_count = %(items)s, next_item = 100 + %(running)s, phase = 1,
    bearable = %(bearable)s, open_needs = %(items)s where run_id = %(run)s and key = 1
"""


def status_of(run):
    return dict(Step.objects.filter(run_id=run.pk, head=None).values_list("name", "status"))


def change(run, **fields):
    """What a step's row says that no definition here can."""
    for name, given in fields.items():
        Step.objects.filter(run_id=run.pk, name=name).update(**given)


def places(run):
    """Of the steps that are ready, claimed: {name: place}."""
    found = claim(make_worker(), 20)
    names = dict(Step.objects.filter(run_id=run.pk).values_list("key", "name"))
    return {names[place[1]]: place for place in found}


# --- what a step waits for


def test_a_step_takes_the_end_of_one_need_however_it_was_and_not_of_another(begin, save, committed):
    text = "  a: {agent: echo}\n  b: {agent: echo}\n  c: {agent: echo, needs: [a, b]}\n"
    version = save(f"name: w\nsteps:\n{text}")
    layout = version.layout
    layout[0]["dependants"] = [-3]
    DefinitionVersion.objects.filter(pk=version.pk).update(layout=layout)
    for bad, becomes in (("a", "ready"), ("b", "skipped")):
        run = begin(f"name: w\nsteps:\n{text}")
        worker, ready = make_worker(), places(run)
        for name in ("a", "b"):
            end(worker, ready[name], "failed" if name == bad else "completed", error={"class": "permanent"})
        assert status_of(run)["c"] == becomes


@pytest.mark.parametrize("order", list(permutations(["completed", "failed", "skipped"])))
@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_any_of_several_needs(begin, wanted, order):
    run = begin("  a: {agent: echo}\n  b: {agent: echo}\n  c: {agent: echo}\n  d: {agent: echo, needs: [a, b, c]}\n")
    change(run, d={"slack": 3 - wanted})
    worker, ready = make_worker(), places(run)
    seen = []
    for name, outcome in zip("abc", order, strict=True):
        end(worker, ready[name], outcome, error={"class": "permanent"} if outcome == "failed" else None)
        seen.append(status_of(run)["d"])
    good, bad = 0, 0
    for outcome, became in zip(order, seen, strict=True):
        good, bad = good + (outcome == "completed"), bad + (outcome != "completed")
        assert became == ("ready" if good >= wanted else "skipped" if bad > 3 - wanted else "blocked")


def test_a_failure_that_is_gone_on_from_is_the_end_of_a_need_and_not_of_the_run(begin):
    run = begin("  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n")
    change(run, a={"forgiven": True, "carries": True})
    worker = make_worker()
    for outcome in ("failed", "completed"):
        (place,) = claim(worker)
        end(worker, place, outcome, **({"error": {"class": "permanent"}} if outcome == "failed" else {}))
    run.refresh_from_db()
    assert (run.status, run.error, status_of(run)) == ("completed", None, {"a": "failed", "b": "completed"})


# --- heads and items


def head(begin, items, *, at_once, bearable=0):
    """A run whose first step is a head: it has laid `items`, of which so many may run at once."""
    run = begin("  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n")
    worker = make_worker()
    (place,) = claim(worker)
    end(worker, place, "waiting", waits_for="child")
    given = {"run": run.pk, "items": items, "running": at_once, "bearable": bearable}
    rows(ITEM, given)
    rows(HEAD, given)
    Run.objects.filter(pk=run.pk).update(open_steps=2 + items, moving_steps=at_once, status="running")
    return run, worker


def statuses(run):
    return "".join(
        status[0]
        for status in Step.objects.filter(run_id=run.pk, head=1).order_by("key").values_list("status", flat=True)
    )


def test_items_run_within_their_window_and_the_head_gathers_when_all_have_ended(begin):
    run, worker = head(begin, 4, at_once=2)
    seen = []
    while items := [place for place in claim(worker, 20) if place[1] >= 100]:
        assert len(items) <= 2
        seen += items
        for place in items:
            end(worker, place, more={"head": 1})
    assert [key for _, key, _ in seen] == [100, 101, 102, 103]
    row = Step.objects.get(run_id=run.pk, key=1)
    assert (row.status, row.open_needs, row.failed_needs) == ("running", 0, 0)
    assert row.attempt == 1  # to gather is no try
    assert Event.objects.filter(run=run, type="step.started", key=1).values_list("data__gathering", flat=True)[1]


def test_a_head_that_cannot_bear_more_failures_goes_on_and_its_end_cancels_what_is_left(begin):
    run, worker = head(begin, 6, at_once=3, bearable=1)
    first, second, third = claim(worker, 3)
    for place in (first, second):
        end(worker, place, "failed", error={"class": "permanent"}, more={"head": 1})
    assert status_of(run)["a"] == "ready"
    running = {place[1]: place for place in claim(worker, 20)}
    end(worker, running.pop(1), "failed", error={"class": "permanent"})
    assert statuses(run) == "ffrrrc"
    # What would be held open gives way, and what ended is recorded as it ended.
    for place in running.values():
        end(worker, place, more={"head": 1})
    assert end(worker, third, "waiting", waits_for="retry", wake=9, more={"head": 1}) == ["canceled"]
    assert statuses(run) == "ffcccc"
    run.refresh_from_db()
    assert (run.status, run.error["step"]) == ("failed", "a")


# --- times


@pytest.mark.parametrize(
    ("given", "becomes"),
    [({"due_as": "completed"}, "completed"), ({"due_as": "ready"}, "ready"), ({}, "failed")],
)
def test_what_waits_for_a_time_becomes_what_it_said(begin, given, becomes):
    run = begin("  a: {agent: echo}\n")
    worker = make_worker()
    (place,) = claim(worker)
    end(worker, place, "waiting", waits_for="time", more={"at": "2020-01-01T00:00:00Z", **given})
    assert sweep(worker)["swept"] == 1
    assert status_of(run) == {"a": becomes}


def past(run, *columns):
    Step.objects.filter(run_id=run.pk).update(**dict.fromkeys(columns, datetime(2020, 1, 1, tzinfo=UTC)))


def test_a_step_that_no_worker_takes_in_time_fails(begin):
    run = begin("  a: {agent: echo}\n")
    past(run, "deadline_at")
    assert sweep(make_worker())["swept"] == 1
    run.refresh_from_db()
    assert (run.status, run.error["class"]) == ("failed", "timeout")
    assert claim(make_worker()) == []


@pytest.mark.parametrize(("repeatable", "becomes"), [(True, "failed"), (False, "uncertain")])
def test_a_step_whose_time_is_over_is_taken_from_its_worker(begin, repeatable, becomes):
    run = begin("  a: {agent: echo}\n")
    change(run, a={"total_seconds": 60, "repeatable": repeatable})
    worker = make_worker()
    (place,) = claim(worker)
    past(run, "total_at", "deadline_at")
    assert sweep(worker)["swept"] == 1
    assert status_of(run) == {"a": becomes}
    assert end(worker, place) == ["late"]
    assert sweep(worker)["swept"] == 0


def test_a_step_gets_its_times_when_it_becomes_ready_and_is_overdue_once(begin):
    run = begin("  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n")
    change(run, b={"total_seconds": 600, "queue_seconds": 60, "expect_seconds": 5})
    worker = make_worker()
    end(worker, claim(worker)[0])
    row = Step.objects.get(run_id=run.pk, name="b")
    assert row.deadline_at < row.total_at
    assert claim(worker)
    row.refresh_from_db()
    assert row.deadline_at == row.total_at
    past(run, "expect_at")
    for _ in range(2):
        sweep(worker)
    assert Event.objects.filter(run=run, type="step.overdue").count() == 1


# --- runs that may not go on


def test_what_is_ready_in_a_paused_run_hides_nothing(begin):
    text = "  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n"
    paused = begin(text)
    worker = make_worker()
    (place,) = claim(worker)
    Run.objects.filter(pk=paused.pk).update(status="paused")
    end(worker, place)
    assert status_of(paused)["b"] == "ready"
    assert (claim(worker), sweep(worker)["ready"]) == ([], False)
    other = begin(text)
    assert sweep(worker)["ready"]
    assert [place[0] for place in claim(worker)] == [other.pk]


@pytest.mark.parametrize(("flush", "level"), [("flush_v2", 0), ("flush_v3", 1), ("flush_v4", 2), ("flush_v5", 3)])
def test_an_earlier_release_claims_no_step_of_a_run_that_it_does_not_understand(begin, flush, level):
    run = begin("  a: {agent: echo}\n")
    Run.objects.filter(pk=run.pk).update(level=level + 1)
    worker = make_worker()
    assert rows(OLD_CLAIM.format(flush), [worker, QUEUES]) == []
    Run.objects.filter(pk=run.pk).update(level=level)
    assert [row[1] for row in rows(OLD_CLAIM.format(flush), [worker, QUEUES])] == ["claimed"]


def test_a_worker_claims_no_step_of_a_run_whose_level_it_does_not_understand(begin):
    run = begin("  a: {agent: echo}\n")
    worker = make_worker()
    Run.objects.filter(pk=run.pk).update(level=HIGHEST_LEVEL + 1)
    assert rows(FLUSH, [worker, [], "[]", "{}", 1, QUEUES, False]) == []
    Run.objects.filter(pk=run.pk).update(level=HIGHEST_LEVEL)
    assert [place[0] for place in claim(worker)] == [run.pk]


def test_a_call_that_may_have_happened_is_uncertain_by_the_word_of_the_release_before(begin):
    run = begin("  a: {agent: echo, repeatable: false}\n")
    worker = make_worker()
    (place,) = claim(worker)
    item = {"n": 1, "was": "running", "outcome": "ready", "begun": True, "unlost": True}
    item |= dict(zip(("run", "key", "fence"), place, strict=True))
    rows(OLD_FLUSH, [worker, run.pk, json.dumps([item])])
    assert status_of(run) == {"a": "uncertain"}


def test_plain_steps_ask_for_nothing_that_is_rare(begin):
    run = begin("  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n  c: {agent: echo, needs: [a]}\n")
    with transaction.atomic():
        rows("drop function engine_rare_v1, engine_given_v1, engine_times_v1")
        worker = make_worker()
        while found := claim(worker, 2):
            for place in found:
                end(worker, place)
        assert value("select status from orchestration_run where id = %s", [run.pk]) == "completed"
        transaction.set_rollback(True)
