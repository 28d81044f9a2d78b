"""`cache`: of the steps that would ask the same, one asks, and the others take its answer."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents.exceptions import Permanent, Temporary
from orchestration.engine import cache
from orchestration.engine.answers import cancel
from orchestration.engine.connection import rows, value
from orchestration.engine.levers import by_hand, pausing, retrying
from orchestration.models import CacheEntry, CachePlace, Payload, Run, Step
from tests.harness import until
from tests.orchestration.engine.looks import decide, pending, step

ASK = (
    "  a: {agent: hold, with: {value: '${{ input.value }}'}, cache: {ttl: 1h}%s}\noutput: '${{ steps.a.output.value }}'"
)
KEYED = "  a: {agent: hold, with: {value: '${{ input.value }}'}, cache: {key: '${{ input.key }}', ttl: 1h}}"


@pytest.fixture
def ask(begin, engine, finished):
    """A run from its beginning to its end."""

    def ask(text, given):
        run = begin(text, given)
        engine.look()
        return finished(run)

    return ask


def asking(engine, hold, *runs):
    """The runs' steps are where they can be: one asks, the others wait."""
    engine.look()
    until(lambda: Step.objects.filter(run__in=runs, status="waiting").count() == len(runs) - 1 and len(hold.calls) == 1)


def places():
    return CachePlace.objects.filter(woken_at=None).count()


def test_what_was_asked_is_not_asked_again(ask, hold):
    hold.go.set()
    first = ask(ASK % "", {"value": 7})
    again = ask(ASK % "", {"value": 7})
    other = ask(ASK % "", {"value": 8})
    assert [run.output for run in (first, again, other)] == [7, 7, 8]
    assert len(hold.calls) == 2
    taken = step(again, "a")
    made = CacheEntry.objects.get(run_id=first.pk).made_at
    assert taken.usage["cached_from"]["run"] == first.public_id
    assert taken.usage["cached_from"]["step"] == "a"
    assert taken.usage["cached_from"]["at"] == value("select to_jsonb(%s::timestamptz)", [made]).strip('"')
    assert taken.input == {"value": 7}
    completed = again.events.get(type="step.completed")
    assert completed.data["usage"] == taken.usage
    assert step(first, "a").usage is None


def test_a_large_answer_lies_in_a_row_of_its_own(ask, hold):
    hold.go.set()
    hold.output = {"value": "x" * 5000}
    runs = [ask(ASK % "", {"value": 7}) for _ in range(2)]
    assert {bytes(step(run, "a").output_digest) for run in runs} == {bytes(CacheEntry.objects.get().output_digest)}
    assert len(hold.calls) == 1


def test_a_key_says_what_is_the_same(ask, hold):
    hold.go.set()
    runs = [ask(KEYED, {"key": key, "value": n}) for n, key in enumerate(["x", "x", {"x": 1}, None, None])]
    assert [step(run, "a").output["value"] for run in runs] == [0, 0, 2, 3, 3]


def test_a_changed_agent_and_another_organization_are_asked_anew(ask, hold, save_agent):
    hold.go.set()
    ask(ASK % "", {"value": 7})
    save_agent(name="hold", kind="tool", configuration={"tool": "hold"}, input={"type": "object"})
    ask(ASK % "", {"value": 7})
    assert len(hold.calls) == 2
    rows("update orchestration_cacheentry set organization_id = organization_id + 1")
    ask(ASK % "", {"value": 7})
    assert len(hold.calls) == 3


def test_an_answer_whose_time_is_over_is_asked_for_again_and_collected(ask, engine, hold):
    hold.go.set()
    hold.output = {"value": "x" * 5000}
    ask(ASK % "", {"value": 7})
    CacheEntry.objects.update(expires_at=Now() - timedelta(seconds=1))
    ask(ASK % "", {"value": 7})
    assert len(hold.calls) == 2
    rows("update orchestration_step set output_digest = null, output = '{}'")
    rows("update orchestration_run set output_digest = null")
    rows("update orchestration_payload set used_at = used_at - interval '2 days'")
    value("select engine_housekeeping_v4('')")
    assert Payload.objects.count() == 1  # the kept answer's
    CacheEntry.objects.update(expires_at=Now() - timedelta(seconds=1))
    value("select engine_housekeeping_v4('')")
    assert (CacheEntry.objects.count(), Payload.objects.count()) == (0, 0)


def test_the_others_wait_as_rows_and_take_the_answer(begin, engine, hold, finished, settings):
    settings.WORKER_THREADS = 2
    runs = [begin(ASK % "", {"value": 7}) for _ in range(6)]
    asking(engine, hold, *runs)
    waits = [one for run in runs if (one := step(run, "a")).status == "waiting"]
    assert {one.waits_for for one in waits} == {"limit"}
    asker = next(run for run in runs if step(run, "a").status == "running")
    told = {str(run.events.get(type="step.waiting").data["asks"]) for run in runs if run != asker}
    assert {run.explain()[0].sentence for run in runs if run != asker} == {
        f"a waits for the answer that {asker.definition_version.definition.slug} asks for at this moment."
    }
    assert told == {str({"run": asker.public_id, "step": "a"})}
    hold.go.set()
    assert {finished(run).output for run in runs} == {7}
    assert len(hold.calls) == 1
    assert {one.attempt for one in Step.objects.filter(run__in=runs, name="a")} == {1}


def test_several_items_of_a_map_ask_once(begin, engine, hold, finished):
    hold.go.set()
    text = "  a: {agent: hold, map: {over: [1, 2, 1, 2, 1]}, with: {value: '${{ item }}'}, cache: {ttl: 1h}}"
    run = begin(text)
    engine.look()
    finished(run)
    assert [one["value"] for one in step(run, "a").output] == [1, 2, 1, 2, 1]
    assert len(hold.calls) == 2


@pytest.mark.parametrize("error", [Permanent("no"), Temporary("busy")])
def test_a_failure_is_not_kept_and_the_next_in_line_asks(begin, engine, hold, finished, error):
    hold.errors = [error]
    runs = [begin(ASK % "", {"value": 7}) for _ in range(3)]
    asking(engine, hold, *runs)
    hold.go.set()
    ended = [finished(run) for run in runs]
    assert sorted(run.status for run in ended) == ["completed", "completed", "failed"]
    assert len(hold.calls) == 2


def test_a_retry_that_waits_lets_the_next_in_line_ask(begin, engine, hold, finished):
    hold.errors = [Temporary("busy")]
    again = ", retry: {attempts: 2, backoff: 1h, max: 1h}"
    runs = [begin(ASK % again, {"value": 7}) for _ in range(3)]
    asking(engine, hold, *runs)
    hold.go.set()
    until(lambda: Run.objects.filter(pk__in=[run.pk for run in runs], status="completed").count() == 2)
    (late,) = Run.objects.filter(pk__in=[run.pk for run in runs], ended_at=None)
    Step.objects.filter(run=late, name="a").update(wake_at=Now())
    engine.look()
    assert finished(late).output == 7
    assert len(hold.calls) == 2


def test_a_cancel_of_the_one_that_asks_lets_the_next_ask(begin, engine, hold, finished, members):
    runs = [begin(ASK % "", {"value": 7}) for _ in range(3)]
    asking(engine, hold, *runs)
    asker = next(run for run in runs if step(run, "a").status == "running")
    cancel(asker, by=members.operator, reason="test")
    until(lambda: len(hold.calls) == 2)
    hold.go.set()
    assert sorted(finished(run).status for run in runs) == ["canceled", "completed", "completed"]


def test_a_run_that_is_paused_or_canceled_loses_its_turn(begin, engine, hold, finished, members):
    runs = [begin(ASK % "", {"value": 7}) for _ in range(4)]
    asking(engine, hold, *runs)
    line = list(CachePlace.objects.order_by("id").values_list("run_id", flat=True))
    asker = next(run for run in runs if run.pk not in line)
    by_key = {run.pk: run for run in runs}
    pausing.pause(by_key[line[0]], by=members.operator, reason="test")
    cancel(by_key[line[1]], by=members.operator, reason="test")
    cancel(asker, by=members.operator, reason="test")
    until(lambda: len(hold.calls) == 2)
    assert Step.objects.get(run_id=line[2], name="a").status == "running"
    hold.go.set()
    assert finished(by_key[line[2]]).output == 7
    pausing.resume(by_key[line[0]], by=members.operator, reason="test")
    engine.look()
    assert finished(by_key[line[0]]).output == 7
    assert len(hold.calls) == 2


def test_with_none_that_may_go_on_whoever_comes_first_asks(begin, engine, hold, finished, members):
    runs = [begin(ASK % "", {"value": 7}) for _ in range(2)]
    asking(engine, hold, *runs)
    late = next(run for run in runs if step(run, "a").status == "waiting")
    asker = next(run for run in runs if run != late)
    pausing.pause(late, by=members.operator, reason="test")
    cancel(asker, by=members.operator, reason="test")
    until(lambda: not CacheEntry.objects.exists())
    hold.go.set()
    pausing.resume(late, by=members.operator, reason="test")
    engine.look()
    assert finished(late).output == 7


def test_a_step_that_a_person_tries_again_takes_no_kept_answer(ask, engine, hold, finished, members):
    hold.go.set()
    hold.errors = [Permanent("no")]
    run = ask(ASK % "", {"value": 7})
    ask(ASK % "", {"value": 7})
    assert (run.status, len(hold.calls)) == ("failed", 2)
    retrying.retry(run, by=members.operator, reason="test")
    engine.look()
    assert finished(run).status == "completed"
    assert len(hold.calls) == 3
    assert CacheEntry.objects.get().run_id == run.pk


def test_a_gate_that_sends_back_is_answered_by_a_new_call(ask, begin, engine, hold, finished, members):
    hold.go.set()
    text = (ASK % "").replace("output:", "  ask: {needs: [a], approval: {title: t, retry: [a]}}\noutput:")
    run = begin(text, {"value": 7})
    engine.look()
    decide(run, members.approver, "retry", note="n")
    until(lambda: pending(run).context["round"] == 2)
    decide(run, members.approver)
    finished(run)
    assert len(hold.calls) == 2
    assert ask(ASK % "", {"value": 7}).output == 7
    assert len(hold.calls) == 2  # what the second round was told is kept


def test_skipped_by_hand_in_the_line(begin, engine, hold, finished, members):
    runs = [begin(ASK % "", {"value": 7}) for _ in range(2)]
    asking(engine, hold, *runs)
    late = next(run for run in runs if step(run, "a").status == "waiting")
    by_hand.skip(late, step(late, "a"), by=members.operator, reason="test")
    finished(late)
    hold.go.set()
    for run in runs:
        finished(run)
    value("select engine_housekeeping_v4('')")
    assert not CachePlace.objects.exists()


def test_a_purge_forgets_what_it_names(ask, hold, organization, members):
    hold.go.set()
    first, _ = [ask(ASK % "", {"value": n}) for n in (1, 2)]
    assert cache.purge(organization, by=None, reason="wrong", agent="echo") == 0
    assert cache.purge(organization, by=None, reason="wrong", run=first) == 1
    assert cache.purge(organization, by=members.operator, reason="wrong", agent="hold") == 1
    ask(ASK % "", {"value": 1})
    assert len(hold.calls) == 3
    assert cache.purge(organization, by=None, reason="wrong") == 1
