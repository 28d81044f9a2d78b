"""`choose`, and `needs` of which not all must complete."""

import pytest

from orchestration.models import Event, Step
from tests.harness import assert_sound, claim, end, make_worker, until
from tests.orchestration.engine.looks import decide, pending, statuses, step, waiting

CHOICE = """
  size: {choose: [{if: input.n > 10, then: big}, {if: "${{ input.n > 5 }}", then: middle}, {else: small}]}
  big: {needs: size, agent: echo, with: {value: big}}
  middle: {needs: size, agent: echo, with: {value: middle}}
  small: {needs: size, agent: echo, with: {value: small}}
  last: {needs: {any: [big, middle, small]}, agent: echo, with: {value: "${{ steps.size.output.chosen }}"}}
output: "${{ steps.last.output.value }}"
"""


@pytest.mark.parametrize(("n", "chosen"), [(11, "big"), (6, "middle"), (1, "small")])
def test_the_first_branch_that_is_true_is_done_and_the_others_are_skipped(begin, engine, finished, n, chosen):
    run = begin("name: c\nsteps:" + CHOICE, {"n": n})
    engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("completed", chosen)
    assert {name for name, status in statuses(run).items() if status == "completed"} == {"size", chosen, "last"}
    told = Event.objects.filter(run_id=run.pk, type="step.skipped").first()
    assert told.data["reason"] == "size did not choose it"


def test_without_else_nothing_may_be_chosen(begin, engine, finished):
    run = begin("  a: {choose: [{if: false, then: b}]}\n  b: {needs: a, agent: echo, with: {value: 1}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, step(run, "a").output, statuses(run)["b"]) == ("completed", {"chosen": None}, "skipped")


def test_a_choice_reads_what_became_of_a_step_that_it_needs(begin, engine, finished):
    text = (
        "  a: {agent: echo, with: {fail: {kind: permanent}}}\n"
        "  c: {needs: a, choose: [{if: steps.a.status == 'failed', then: mend}, {else: go}]}\n"
        "  mend: {needs: c, agent: echo, with: {value: 1}}\n  go: {needs: c, agent: echo, with: {value: 1}}\n"
    )
    run = begin(text)
    engine.look()
    run = finished(run)
    assert (statuses(run)["mend"], statuses(run)["go"]) == ("completed", "skipped")


def test_a_choice_sent_back_chooses_anew(begin, engine, members, finished):
    text = (
        "  c: {choose: [{if: round == 1, then: a}, {else: b}]}\n"
        "  a: {needs: c, agent: echo, with: {value: a}}\n  b: {needs: c, agent: echo, with: {value: b}}\n"
        "  g: {needs: {any: [a, b]}, approval: {title: t, retry: [c],"
        " show: {a: '${{ steps.a.output }}', b: '${{ steps.b.output }}'}}}\n"
        "output: '${{ steps.g.output }}'\n"
    )
    run = begin("name: c\nsteps:\n" + text)
    engine.look()
    waiting(run)
    decide(run, members.approver, "retry", note="again")
    engine.look()
    assert pending(run).payload == {"a": None, "b": {"value": "b"}}
    decide(run, members.approver, "continue")
    engine.look()
    assert finished(run).output == {"a": None, "b": {"value": "b"}}


WANTED = "  a: {agent: echo}\n  b: {agent: echo}\n  c: {agent: echo}\n  d: {agent: echo, needs: %s}\n"


@pytest.mark.parametrize(
    ("needs", "ends", "starts_after"),
    [
        ("{any: [a, b, c]}", ("completed", "completed", "completed"), 1),
        ("{any: [a, b, c]}", ("failed", "completed", "completed"), 2),
        ("{any: [a, b, c]}", ("failed", "failed", "completed"), 3),
        ("{any: [a, b, c]}", ("failed", "failed", "failed"), None),
        ("{of: 2, in: [a, b, c]}", ("completed", "failed", "completed"), 3),
        ("{of: 2, in: [a, b, c]}", ("completed", "completed", "failed"), 2),
        ("{of: 2, in: [a, b, c]}", ("failed", "failed", "completed"), None),
        ("{of: 3, in: [a, b, c]}", ("completed", "failed", "completed"), None),
    ],
)
def test_it_starts_when_so_many_have_completed_and_is_skipped_when_that_cannot_be(
    begin, committed, needs, ends, starts_after
):
    run = begin(WANTED % needs)
    worker = make_worker()
    places = claim(worker, 9)
    assert len(places) == 3
    for number, (place, how) in enumerate(zip(places, ends, strict=True), start=1):
        end(worker, place, how, **({"error": {"class": "permanent", "message": "no"}} if how == "failed" else {}))
        begun = step(run, "d").status == "ready"
        assert begun == (starts_after is not None and number >= starts_after)
        assert_sound(run.pk)
    assert (step(run, "d").status == "skipped") == (starts_after is None)


def test_who_was_late_changes_nothing_for_a_step_that_has_begun(begin, committed):
    run = begin(WANTED % "{any: [a, b, c]}")
    worker = make_worker()
    first, second, third = claim(worker, 9)
    end(worker, first)
    (last,) = claim(worker, 9)
    end(worker, second, "failed", error={"class": "permanent", "message": "no"})
    end(worker, last, "waiting", waits_for="retry", wake=3600.0)
    end(worker, third)
    run = assert_sound(run.pk)
    assert (step(run, "d").status, run.status) == ("waiting", "waiting")


def test_the_output_waits_for_what_a_step_began_without(begin, engine, hold, finished):
    run = begin(
        """
  a: {agent: echo}
  late: {agent: hold, with: {value: 1}}
  d: {agent: echo, needs: {any: [a, late]}}
output: "${{ steps.late.output.value }}"
"""
    )
    engine.look()
    until(lambda: step(run, "d").status == "completed")
    assert Step.objects.get(run=run, kind="output").status == "blocked"
    hold.go.set()
    assert finished(run).output == 1
