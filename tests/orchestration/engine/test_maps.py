"""`map`: a step for each item of a list, at most so many at once, of which some may fail."""

import psycopg
import pytest

from agents import tools
from agents.calls import Result
from approvals.models import Request
from orchestration.engine import answers
from orchestration.engine.connection import value
from orchestration.engine.levers import pausing
from orchestration.models import Payload, Run, Step
from orchestration.testkit.worker import Worker
from tests.harness import assert_sound, claim, database_url, end, end_lease, make_worker, sweep, until
from tests.orchestration.engine.looks import CHILD, decide, pending, step, types, waiting

BAD = {"kind": "permanent"}


def map_of(how="", given="value: '${{ item }}'", agent="echo", rest="output: '${{ steps.a.output }}'\n"):
    how = f", {how}" if how else ""
    what = f"agent: {agent}, map: {{over: '${{{{ input.list }}}}'{how}}}, with: {{{given}}}"
    return f"name: m\nsteps:\n  a: {{{what}}}\n{rest}"


def items(run, **of):
    return list(Step.objects.filter(run=run, name="a", head__isnull=False, **of).order_by("key"))


@pytest.mark.parametrize("count", [0, 1, 7])
def test_its_output_is_the_list_of_its_items_outputs_in_their_order(begin, engine, finished, count):
    run = begin(map_of(given="value: '${{ item * 10 + index }}'"), {"list": list(range(count))})
    engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("completed", [{"value": n * 11} for n in range(count)])
    assert [one.index for one in items(run)] == list(range(count))


def test_one_that_began_before_all_its_needs_had_ended_waits_for_its_items_alone(
    begin, engine, hold, members, finished
):
    run = begin(
        """
  a: {agent: echo}
  late: {approval: {title: t}}
  m: {agent: hold, needs: {any: [a, late]}, map: {over: [1]}, with: {value: "${{ item }}"}}
output: "${{ steps.m.output }}"
"""
    )
    engine.look()
    until(lambda: hold.calls)
    decide(run, members.approver)
    until(lambda: step(run, "late").status == "completed")
    assert step(run, "m").status == "waiting"
    hold.go.set()
    assert finished(run).output == [{"value": 1}]


def test_a_worker_takes_wave_after_wave_of_items_and_waits_for_no_sweep(engine_later, begin, finished, settings):
    settings.WORKER_SWEEP_SECONDS = 600.0
    settings.WORKER_THREADS = 64
    engine = engine_later()
    run = begin(map_of(), {"list": list(range(300))})
    engine.look()
    assert finished(run).status == "completed"


def test_large_items_and_outputs_lie_in_rows_of_their_own(begin, engine, finished):
    run = begin(map_of(), {"list": ["x" * 5000, "y" * 5000, "z"]})
    engine.look()
    run = finished(run)
    assert [one.item_digest is None for one in items(run)] == [False, False, True]
    output = Payload.objects.get(digest=run.output_digest).body
    assert output == [{"value": "x" * 5000}, {"value": "y" * 5000}, {"value": "z"}]


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_of_its_items_run_at_once_than_it_says(begin, engine, finished, save_agent, at_once):
    most, now = [], []

    def count(call):
        now.append(call.input["value"])
        most.append(len(now))
        now.remove(call.input["value"])
        return Result({"value": call.input["value"]})

    tools.register("count", {"count": count})
    save_agent(name="count", kind="tool", configuration={"tool": "count"})
    run = begin(map_of(f"concurrency: {at_once}", agent="count"), {"list": list(range(20))})
    engine.look()
    run = finished(run)
    assert run.output == [{"value": n} for n in range(20)]
    assert max(most) <= at_once


def test_the_next_of_a_window_starts_when_one_has_ended(begin, committed):
    run = begin(map_of("concurrency: 2, tolerate: 5"), {"list": [1, 2, 3, 4, 5]})
    worker = make_worker()
    spread(run, worker, 5, window=2, bearable=5)
    first, second = claim(worker, 9)
    assert claim(worker, 9) == []
    end(worker, second, "failed", error={"class": "permanent", "message": "no"})
    (third,) = claim(worker, 9)
    end(worker, first, output=1)
    end(worker, third, output=3)
    assert len(claim(worker, 9)) == 2
    assert_sound(run.pk)


def spread(run, worker, count, **how):
    """Claim the head and end it as its walker does."""
    (head,) = claim(worker)
    asked = {"items": [{"item": n} for n in range(count)], "kind": "agent", "repeatable": True, "reads": [], **how}
    assert end(worker, head, "waiting", waits_for="child", more={"phase": 1, "spread": asked}) in ([], ["ready:tool"])
    return head


@pytest.mark.parametrize(
    ("tolerate", "bad", "status"),
    [("1", 1, "completed"), ("1", 2, "failed"), ("20%", 2, "completed"), ("19%", 2, "failed")],
)
def test_so_many_of_its_items_may_fail(begin, engine, finished, tolerate, bad, status):
    run = begin(
        map_of(f"tolerate: {tolerate}", given="value: 1, fail: '${{ item }}'"),
        {"list": [{}] * (10 - bad) + [BAD] * bad},
    )
    engine.look()
    run = finished(run)
    assert run.status == status
    if status == "completed":
        assert run.output == [{"value": 1}] * (10 - bad) + [None] * bad
    else:
        assert run.error["class"] == "permanent"
        assert run.error["message"].startswith("2 of 10 items failed, and 1 is tolerated; the first was 8: echo fails")
    assert types(run).count("run.failed") == (status == "failed")


def test_an_item_too_many_that_failed_ends_it_and_what_runs_is_recorded_as_it_ends(begin, engine, finished, hold):
    text = map_of("concurrency: 3", given="value: '${{ item }}'", agent="hold")
    run = begin(text, {"list": [1, 2, 3, 4, 5]})
    engine.look()
    until(lambda: len(hold.calls) == 3)
    place = (run.pk, items(run)[0].key, items(run)[0].fence)
    assert end(items(run)[0].owner, place, "failed", error={"class": "timeout", "message": "late"}) == ["ready:tool"]
    engine.look()
    until(lambda: Step.objects.filter(run=run, name="a", head=None, status="failed").exists())
    statuses = [one.status for one in items(run)]  # the fourth may have been let go by the first
    assert (statuses[:3], statuses[4]) == (["failed", "running", "running"], "canceled")
    hold.go.set()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "timeout")
    statuses = [one.status for one in items(run)]
    assert (statuses[:3], statuses[4]) == (["failed", "completed", "completed"], "canceled")


def test_a_batch_is_a_list_of_so_many_items(begin, engine, finished):
    run = begin(map_of("as: lot, batch: 3", given="value: '${{ lot }}'"), {"list": list(range(7))})
    engine.look()
    assert finished(run).output == [{"value": [0, 1, 2]}, {"value": [3, 4, 5]}, {"value": [6]}]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("soon", "What it maps over is no list."),
        ([1] * 4, "What it maps over has 4 items. At most 3 are taken (setting MAP_MOST_ITEMS)."),
    ],
)
def test_what_is_no_list_or_too_long_fails_it(begin, engine_later, finished, settings, value, words):
    settings.MAP_MOST_ITEMS = 3
    engine = engine_later()
    run = begin(map_of(), {"list": value})
    engine.look()
    run = finished(run)
    assert (run.error["class"], run.error["message"]) == ("permanent", words)
    assert items(run) == []


def test_an_items_tries_are_its_own(begin, engine, finished):
    text = map_of(given="value: 1, fail: '${{ item }}'").replace("with:", "retry: {attempts: 2, backoff: 1ms}, with:")
    run = begin(text, {"list": [{}, {"times": 1}, {}]})
    engine.look()
    run = finished(run)
    assert run.status == "completed"
    assert [one.attempt for one in items(run)] == [1, 2, 1]
    assert Step.objects.get(run=run, name="a", head=None).attempt == 1


def test_its_condition_and_its_deliverable_are_of_the_whole(begin, engine, finished):
    more = "deliverable: {name: d, content: '${{ output[1].value }}'}, with:"
    run = begin(map_of().replace("with:", more), {"list": ["x", "y"]})
    other = begin(map_of(rest="").replace("with:", "if: size(input.list) > 2, with:"), {"list": [1]})
    engine.look()
    assert list(finished(run).deliverables.values_list("content", flat=True)) == ["y"]
    assert finished(other).status == "completed"
    assert (step(other, "a").status, items(other)) == ("skipped", [])


def test_every_item_of_a_map_of_checkpoints_is_asked_and_answered_for_itself(begin, engine, members, finished):
    text = "  a: {map: {over: [x, y]}, approval: {title: 'Is ${{ item }} right?', show: '${{ item }}'}}\n"
    run = begin(text + "output: '${{ steps.a.output }}'\n")
    engine.look()
    for title in ("Is x right?", "Is y right?"):
        asked = until(
            lambda title=title: Request.objects.pending().filter(context__run=run.public_id, title=title).first()
        )
        asked.decide(by=members.approver, choice="continue", digest=asked.digest)
        engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("completed", ["x", "y"])


def test_a_canceled_map_ends_its_items(begin, engine, hold, members, finished):
    run = begin(map_of("concurrency: 2", agent="hold"), {"list": [1, 2, 3]})
    engine.look()
    until(lambda: len(hold.calls) == 2)
    answers.cancel(run, by=members.operator, reason="r")
    engine.look()
    run = finished(run)
    assert run.status == "canceled"
    assert {one.status for one in items(run)} == {"canceled"}


def test_a_map_behind_a_gate_that_is_sent_back_maps_anew(begin, engine, members, finished):
    text = (
        "  a: {agent: echo, map: {over: '${{ input.list }}'}, with: {value: '${{ item + round }}'}}\n"
        "  g: {needs: a, approval: {title: t, show: '${{ steps.a.output }}'}}\noutput: '${{ steps.g.output }}'\n"
    )
    run = begin(text, {"list": [10, 20]})
    engine.look()
    waiting(run)
    decide(run, members.approver, "retry", note="again")
    engine.look()
    until(lambda: items(run, round=2) and waiting(run) and pending(run).context["round"] == 2)
    decide(run, members.approver, "continue")
    engine.look()
    assert finished(run).output == [{"value": 12}, {"value": 22}]


def test_a_head_that_is_lost_with_its_worker_lays_its_items_once_and_gathers_once(
    begin, committed, engine_later, finished
):
    run = begin(map_of(), {"list": [1, 2]})
    lose(run)
    worker = make_worker()
    spread(run, worker, 2)
    for place in claim(worker, 9):
        end(worker, place, output={"value": place[1]})
    lose(run)
    engine_later()
    run = finished(run)
    assert (run.status, len(items(run)), run.output) == ("completed", 2, [{"value": 3}, {"value": 4}])


def lose(run):
    worker = make_worker()
    assert len(claim(worker)) == 1
    end_lease(worker)
    assert sweep(make_worker())["swept"] == 1
    assert_sound(run.pk)


def test_an_agent_that_starts_a_run_does_so_for_each_item(begin, engine, boss, save, finished):
    save(CHILD.replace(', fail: "${{ input.fail }}"', ""))
    run = begin(map_of(given="n: '${{ item }}'", agent="boss"), {"list": [1, 2, 3]})
    engine.look()
    run = finished(run)
    assert run.output == [1, 2, 3]
    assert Run.objects.filter(parent_run_id=run.pk).count() == 3


def test_items_of_a_run_that_is_locked_elsewhere_are_written_together(begin, engine, finished, hold):
    run = begin(map_of(agent="hold"), {"list": list(range(8))})
    engine.look()
    until(lambda: len(hold.calls) == 8)
    recorder = engine.process.recorder
    with psycopg.connect(database_url()) as other:
        other.execute("select from orchestration_run where id = %s for update", [run.pk])
        hold.go.set()
        until(lambda: all(hand.is_over for hand in engine.process.hands._in_hand) and recorder.inbox.empty())
        until(lambda: not recorder._locked)
        other.rollback()
    assert finished(run).status == "completed"
    written = "select count(distinct xmin::text) from orchestration_event where run_id = %s and type = 'step.completed'"
    assert value(written, [run.pk]) < 8


def test_items_that_are_laid_in_a_paused_run_all_start_when_it_goes_on(begin):
    run = begin("  m: {map: {over: [1, 2], concurrency: 1}, agent: echo, with: {value: 1}}\n")
    worker = Worker()
    (head,) = worker.look()
    worker.do(head)
    pausing.pause(run, by=None, reason="r")
    worker.record([], look=False)
    pausing.resume(run, by=None, reason="r")
    other = make_worker()
    for _ in range(2):
        (item,) = claim(other)
        end(other, item)
    assert [each.status for each in Step.objects.filter(run=run, head__isnull=False)] == ["completed"] * 2
