"""A run that waits goes on by a newer version of its definition, if what it has done fits that."""

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry
from approvals.models import Request
from orchestration.engine.levers import by_hand, pausing
from orchestration.engine.levers.moving import findings, move, version_of
from orchestration.exceptions import InvalidInput, Misfit, Refused
from orchestration.models import Event, LimitSlot, Run, Step
from tests.harness import assert_sound, claim, end, make_worker, until

TEXT = """name: d
input: {properties: {n: {type: integer}}}
steps:
  a: {agent: echo, with: {value: "${{ input.n }}"}}
  k: {agent: echo}
  g: {needs: [a], approval: {title: t, show: "${{ steps.a.output }}"}}
  b: {agent: echo, needs: [g], with: {value: "${{ steps.a.output.value * 10 }}"}}
output: "${{ steps.b.output.value }}"
"""
BETTER = """name: d
steps:
  z: {agent: echo, with: {value: 7}}
  k: {agent: echo}
  a: {agent: echo, with: {value: 1}}
  g: {needs: [a, k], approval: {title: better, show: "${{ steps.k.output }}"}}
  b: {agent: echo, needs: [g, z], with: {value: "${{ steps.a.output.value * 100 + steps.z.output.value }}"}}
  d: {agent: echo, needs: [b], with: {value: "${{ steps.b.output.value + 1 }}"}}
output: "${{ steps.d.output.value }}"
"""


def fresh(run):
    return Run.objects.for_list().get(pk=run.pk)


def asked(run):
    return until(lambda: Request.objects.pending().filter(context__run=run.public_id).first())


def answer(run, members, choice="continue"):
    request = asked(run)
    request.decide(by=members.approver, choice=choice, digest=request.digest)
    return request


def at_rest(run):
    """At its question, with nothing at work."""
    asked(run)
    until(lambda: Run.objects.get(pk=run.pk).status == "waiting")
    return fresh(run)


def wait_here(run, worker, *, failing=()):
    """Do all that can be done without an engine: questions wait."""
    while found := claim(worker, 20):
        for place in found:
            step = Step.objects.get(run_id=place[0], key=place[1])
            if step.kind in ("approval", "wait"):
                end(worker, place, "waiting", waits_for="retry", wake=900)
            elif step.name in failing:
                end(worker, place, "failed", error={"class": "permanent", "message": "no"})
            else:
                end(worker, place, output={"value": step.name})
    return fresh(run)


def test_a_waiting_run_goes_on_by_the_newest_version(engine, begin, save, members, finished):
    run = at_rest(begin(TEXT, given={"n": 3}))
    first = asked(run)
    save(BETTER)
    kept = {step.name: step.key for step in run.newest_steps()}
    move(run, by=members.builder, reason="better")
    second = until(lambda: Request.objects.pending().exclude(pk=first.pk).first())
    first.refresh_from_db()
    assert (first.status, second.title) == ("withdrawn", "better")
    answer(run, members)
    run = finished(run)
    assert (run.status, run.output, run.definition_version.number) == ("completed", 308, 2)
    steps = {step.name: (step.position, step.key) for step in run.newest_steps()}
    assert {name: position for name, (position, _) in steps.items()} == {"z": 1, "k": 2, "a": 3, "g": 4, "b": 5, "d": 6}
    assert {name: steps[name][1] for name in kept} == kept
    told = Event.objects.get(run=run, type="run.moved").data
    assert told == {"by": members.builder.name, "reason": "better", "from": 1, "to": 2}
    assert AuditEntry.objects.get(action="run.move").data == told


def test_a_paused_run_is_moved_and_stays_paused(begin, save, members):
    run = begin(TEXT, given={"n": 3})
    pausing.pause(run, by=None, reason="x")
    save(BETTER)
    move(run, by=members.builder, reason="x")
    run = assert_sound(run.pk)
    assert (run.status, claim(make_worker(), 9)) == ("paused", [])
    assert {step.name: step.status for step in run.newest_steps() if step.status == "ready"} == dict.fromkeys(
        "zka", "ready"
    )
    pausing.resume(run, by=None, reason="x")
    assert len(claim(make_worker(), 9)) == 3
    assert_sound(run.pk)


def test_an_answer_of_before_does_not_hold_for_another_version(engine, begin, save, members, finished):
    text = (
        "name: d\nsteps:\n  g: {approval: {title: t}}\n  w: {needs: [g], wait: {for: 1h}}\n"
        "  b: {agent: echo, needs: [g, w]}\n"
    )
    run = begin(text)
    answer(run, members)
    until(lambda: Run.objects.get(pk=run.pk).status == "waiting" and Request.objects.pending().count() == 0)
    until(lambda: Step.objects.filter(run=run, name="w", status="waiting").exists())
    save(text.replace("b: {agent: echo, needs: [g, w]}", "b: {agent: echo, needs: [g, w], with: {value: 2}}"))
    move(run, by=members.builder, reason="x")
    step = next(step for step in fresh(run).newest_steps() if step.name == "w")
    by_hand.set_output(fresh(run), step, by=members.operator, reason="x", output=None)
    assert answer(run, members).context["round"] == 2
    assert finished(run).status == "completed"


def test_a_map_of_questions_is_moved_with_its_items(engine, begin, save, members, finished):
    text = "name: d\nsteps:\n  m: {map: {over: [1, 2]}, approval: {title: t}}\n"
    run = begin(text)
    until(lambda: Request.objects.pending().count() == 2)
    until(lambda: Run.objects.get(pk=run.pk).status == "waiting")
    save(text + "  b: {agent: echo, needs: [m]}\n")
    move(run, by=members.builder, reason="x")
    for _ in range(2):
        answer(run, members)
        until(lambda: not Request.objects.unacknowledged().exists())
    run = finished(run)
    assert (run.status, [step.name for step in run.newest_steps()]) == ("completed", ["m", "b"])


WAITS = "name: d\nsteps:\n  a: {agent: echo}\n  w: {needs: [a], wait: {for: 1h}}\n  b: {agent: echo, needs: [w]}\n"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (TEXT, TEXT.replace("n: {type: integer}", "n: {type: string}"), "/input/n"),
        (TEXT, TEXT.replace("  k: {agent: echo}\n", ""), "k: It is completed, and that version has no such step."),
        (
            TEXT,
            TEXT.replace("k: {agent: echo}", "k: {agent: summarizer, with: {text: t}}"),
            "k: It is done by another agent",
        ),
        (TEXT, TEXT.replace("k: {agent: echo}", "k: {approval: {title: t}}"), "k: It is of the kind approval there."),
        (
            TEXT,
            TEXT.replace("k: {agent: echo}", "z: {agent: echo}\n  k: {agent: echo, needs: [z]}"),
            "k: It needs z there",
        ),
        (
            TEXT,
            TEXT.replace("k: {agent: echo}", "k: {agent: echo, map: {over: [1]}}"),
            "k: It is of the kind map there.",
        ),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_moved(begin, save, members, before, after, words):
    run = wait_here(begin(before, given={"n": 3}), make_worker())
    save(after)
    seen = (run.seq, list(Step.objects.filter(run=run).order_by("key").values()))
    with pytest.raises(Misfit, match=words):
        move(run, by=members.builder, reason="x")
    run = assert_sound(run.pk, besides=("told", "nothing_wakes"))
    assert (run.seq, list(Step.objects.filter(run=run).order_by("key").values())) == seen
    assert run.definition_version.number == 1


def test_a_wait_that_says_something_else_does_not_fit(engine, begin, save, members):
    run = begin(WAITS)
    until(lambda: Step.objects.filter(run=run, name="w", status="waiting").exists())
    until(lambda: Run.objects.get(pk=run.pk).status == "waiting")
    save(WAITS.replace("1h", "2h"))
    (found,) = findings(fresh(run), version_of(fresh(run), None))
    assert (found.step, found.message) == ("w", "It waits for time, and says something else there.")
    save(WAITS.replace("b: {agent: echo, needs: [w]}", "c: {agent: echo, needs: [w]}"))
    move(run, by=members.builder, reason="x")
    assert [step.name for step in assert_sound(run.pk).newest_steps()] == ["a", "w", "c"]


def test_what_is_at_work_is_not_moved_nor_to_an_older_version(begin, save, members):
    run = begin(TEXT, given={"n": 3})
    with pytest.raises(Refused, match="it can be moved to a newer one"):
        move(run, by=None, reason="x")
    save(BETTER)
    with pytest.raises(InvalidInput):
        move(run, by=None, reason="x", version=3)
    with pytest.raises(Refused, match="The run is running; only one that is waiting or paused"):
        move(run, by=None, reason="x")
    claim(make_worker())
    pausing.pause(run, by=None, reason="x")
    with pytest.raises(Refused, match="at work"):
        move(run, by=None, reason="x")
    assert Run.objects.get(pk=run.pk).definition_version.number == 1


def test_an_answer_that_has_just_come_is_taken_up_first(engine_later, begin, save, members, finished):
    engine = engine_later()
    run = at_rest(begin(TEXT, given={"n": 3}))
    save(BETTER)
    engine.stop()
    answer(run, members)
    with pytest.raises(Refused, match="An answer has just come"):
        move(run, by=members.builder, reason="x")
    engine_later()
    assert finished(run).output == 30


def test_the_doors(begin, save, operator, viewer, client_of, members):
    run = begin(TEXT, given={"n": 3})
    pausing.pause(run, by=None, reason="x")
    check, url = (reverse(name, args=[run.public_id]) for name in ("run-move-check", "run-move"))
    builder = client_of(members.builder)
    assert builder.post(url, {"reason": "x"}, format="json").status_code == 409
    save(BETTER)
    assert viewer.get(check).json() == {"version": 2, "findings": []}
    assert operator.post(url, {"reason": "x"}, format="json").status_code == 403
    assert builder.post(url, {"reason": "x"}, format="json").json()["definition"]["version"] == 2


def test_a_limit_of_the_newer_version_holds_also_what_was_tried_before(engine_later, begin, save, members, hold):
    text = "name: d\nsteps: {a: {agent: hold, retry: {attempts: 2, backoff: 1h}}}\n"
    tried, handed_back = begin(text), begin(text)
    worker = make_worker()
    places = {place[0]: place for place in claim(worker, 2)}
    end(worker, places[tried.pk], "waiting", waits_for="retry", wake=3600)
    end(worker, places[handed_back.pk], "ready")
    for run in (tried, handed_back):
        pausing.pause(run, by=None, reason="x")
    save(text.replace("hold,", "hold, concurrency: {max: 1},"))
    for run in (tried, handed_back):
        move(run, by=members.builder, reason="x")
    begin(text.replace("hold,", "hold, concurrency: {max: 1},"))
    engine_later()
    until(lambda: hold.calls)
    Step.objects.filter(run=tried).update(wake_at=timezone.now())
    for run in (tried, handed_back):
        pausing.resume(run, by=None, reason="x")
    held_up = Step.objects.filter(waits_for="limit")
    until(lambda: held_up.count() + len(hold.calls) == 3)
    assert set(held_up.values_list("run_id", flat=True)) == {tried.pk, handed_back.pk}
    hold.go.set()
    until(lambda: not Run.objects.exclude(status="completed").exists())
    until(lambda: not LimitSlot.objects.exists())  # who has the limit next takes back what an end has marked
    assert len(hold.calls) == 3
