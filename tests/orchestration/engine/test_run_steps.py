"""Steps of kind `run`: their child runs, what these have of their parents, and how either ends."""

import pytest

from accounts.public_ids import new_public_id
from orchestration.engine import answers, children
from orchestration.engine.connection import rows
from orchestration.engine.starts import start_version
from orchestration.models import Run, Step
from tests.harness import assert_all_sound, claim, end, make_worker, race, until
from tests.orchestration.engine.looks import CHILD, decide, pending, step, waiting

ROUNDS = 200
ASKS = "name: asks\nsteps: {a: {approval: {title: t}}}\noutput: 5"
TREE = "select runs from orchestration_tree where root_run_id = %s"


def child_of(run):
    return until(lambda: Run.objects.filter(parent_run_id=run.pk).order_by("-pk").first())


def launch(version):
    """What a walker hands in for a step that is to wait for a run."""
    child = {"version": version.pk, "public": new_public_id("run"), "input": {}}
    return {"waits_for": "child", "more": {"launch": child}}


def test_its_output_is_the_steps(begin, engine, save, finished):
    save(CHILD.replace(', fail: "${{ input.fail }}"', ""))
    last = "b: {agent: echo, needs: [call], with: {value: '${{ steps.call.output + 1 }}'}}"
    run = begin(f"  call: {{run: child, with: {{n: 4}}}}\n  {last}")
    engine.look()
    run, child = finished(run), finished(child_of(run))
    assert (run.status, step(run, "call").output, step(run, "b").output) == ("completed", 4, {"value": 5})
    assert (step(run, "call").child_run_id, child.root_run_id, child.depth) == (child.pk, run.pk, 1)
    waits = run.events.get(type="step.waiting")
    assert waits.data["child"] == child.public_id
    assert rows(TREE, [run.pk]) == [(1,)]


def test_a_child_has_of_its_parent_what_a_run_has_beside_its_steps(save, organization, members, committed):
    child = save("name: child\nsteps: {a: {agent: echo}}")
    parent = save("name: parent\nsteps: {call: {run: child}, more: {run: child}}")
    facts = {"priority": 7, "fair_by": "acme", "labels": {"customer": "acme"}}
    run = start_version(parent.pk, organization.pk, {}, by=members.operator.pk, facts=facts)
    worker = make_worker()
    for place in claim(worker, 2):
        assert end(worker, place, "waiting", **launch(child)) == ["ready:tool"]
    below = Run.objects.filter(parent_run_id=run)
    assert {(one.priority, one.fair_key, one.started_by_id) for one in below} == {
        (7, f"{organization.pk}:acme", members.operator.pk)
    }
    assert [one.labels for one in below] == [{"customer": "acme"}] * 2
    assert [(one.root_run_id, one.level) for one in below] == [(run, 0)] * 2
    assert rows(TREE, [run]) == [(2,)]
    assert_all_sound([run, *below.values_list("pk", flat=True)])


def test_a_version_is_the_one_that_is_named(begin, engine, save, finished):
    for number in (1, 2):
        save(f"name: child\nsteps: {{a: {{agent: echo}}}}\noutput: {number}")
    run = begin("  old: {run: {definition: child, version: 1}}\n  new: {run: child}")
    engine.look()
    run = finished(run)
    assert (step(run, "old").output, step(run, "new").output) == (1, 2)


def test_what_the_definition_does_not_take_fails_the_step(begin, engine, save, finished):
    save("name: child\ninput: {properties: {n: {type: integer}}}\nsteps: {a: {agent: echo}}")
    run = begin("  call: {run: child, with: {n: '${{ input.n }}'}}", {"n": "x"})
    engine.look()
    run = finished(run)
    assert run.error["class"] == "permanent"
    assert run.error["message"].startswith("child does not take this input: /input/n: ")
    assert not Run.objects.filter(parent_run_id=run.pk).exists()


@pytest.mark.parametrize(("limit", "most", "runs"), [("RUN_DEEPEST", 3, 4), ("RUN_TREE_MOST", 2, 3)])
def test_a_definition_that_runs_itself_comes_to_an_end(begin, engine, save, finished, settings, limit, most, runs):
    setattr(settings, limit, most)
    run = begin("name: again\nsteps: {call: {run: again, if: 'input == {}', with: {}}}")
    engine.look()
    run = finished(run)
    assert (run.error["class"], Run.objects.count()) == ("child_failed", runs)
    assert f"At most {most} are taken (setting {limit})." in run.error["message"]


def test_a_child_that_failed_is_tried_again_by_another_run(begin, engine, save, finished):
    save("name: child\nsteps: {a: {agent: echo, with: {fail: {kind: permanent}}}}")
    run = begin("  call: {run: child, retry: {attempts: 1, on: {child_failed: {attempts: 2, backoff: 10ms}}}}")
    engine.look()
    run = finished(run)
    first, second = Run.objects.filter(parent_run_id=run.pk).order_by("pk")
    assert (run.error["class"], step(run, "call").attempt, step(run, "call").child_run_id) == (
        "child_failed",
        2,
        second.pk,
    )
    assert (first.status, first.parent_key, rows(TREE, [run.pk])) == ("failed", second.parent_key, [(2,)])


def test_several_run_beside_each_other_several_levels_deep(begin, engine, save, finished):
    save("name: leaf\nsteps: {a: {agent: echo, with: {value: 1}}}\noutput: '${{ steps.a.output.value }}'")
    for name, below in (("middle", "leaf"), ("top", "middle")):
        steps = "\n".join(f"  c{n}: {{run: {below}}}" for n in range(4))
        total = " + ".join(f"steps.c{n}.output" for n in range(4))
        text = f"name: {name}\nsteps:\n{steps}\noutput: '${{{{ {total} }}}}'"
        save(text)
    run = begin(text)
    engine.look()
    run = finished(run)
    assert (run.status, run.output, Run.objects.filter(root_run_id=run.pk).count()) == ("completed", 16, 20)
    assert rows(TREE, [run.pk]) == [(20,)]
    assert_all_sound(list(Run.objects.values_list("pk", flat=True)))


# --- one of the two ends first


@pytest.mark.parametrize(("rule", "child_is"), [("cancel", "canceled"), ("leave", "completed")])
def test_what_becomes_of_a_child_whose_parent_is_canceled(begin, engine, save, members, finished, rule, child_is):
    save(ASKS)
    run = begin(f"  call: {{run: {{definition: asks, if_parent_ends: {rule}}}}}")
    engine.look()
    child = child_of(run)
    pending(child)
    waiting(run)
    answers.cancel(run, by=members.operator, reason="r")
    engine.look()
    assert finished(run).status == "canceled"
    if rule == "leave":
        decide(child, members.approver)
        engine.look()
    assert finished(child).status == child_is
    until(lambda: Run.objects.get(pk=child.pk).told_at)
    assert finished(run).status == "canceled"


def test_a_child_whose_parents_step_has_no_time_left_is_canceled(begin, engine, save, finished):
    save(ASKS)
    run = begin("  call: {run: asks, timeout: 100ms}")
    engine.look()
    assert finished(run).error["class"] == "timeout"
    assert finished(child_of(run)).status == "canceled"


def test_a_parent_that_is_canceled_while_its_child_starts_leaves_none_behind(save, organization, members, committed):
    child = save("name: child\nsteps: {a: {agent: echo}}")
    parent = save("name: parent\nsteps: {call: {run: child}}")
    runs = [start_version(parent.pk, organization.pk, {}, by=members.operator.pk) for _ in range(ROUNDS)]
    worker = make_worker()
    places = sorted(claim(worker, ROUNDS))
    assert [place[0] for place in places] == runs

    def begins(number):
        while "busy" in (said := end(worker, places[number], "waiting", **launch(child))):
            pass
        return said

    def cancels(number):
        return answers.cancel(Run.objects.get(pk=runs[number]), by=None, reason="race")

    race(ROUNDS, begins, cancels)
    answers.tidy_up()
    while children.tell_parents():
        pass
    everything = list(Run.objects.values_list("pk", flat=True))
    assert {run.status for run in assert_all_sound(everything)} == {"canceled"}
    assert not Step.objects.exclude(status__in=Step.ENDED).exists()


def test_two_that_start_runs_at_once_do_not_start_one_too_many(save, start_many):
    child = save("name: child\nsteps: {call: {run: child, if: 'input == {}'}}")
    roots = start_many("name: root\nsteps: {a: {run: child}, b: {run: child}}")
    worker = make_worker()
    for place in claim(worker, 2 * ROUNDS):
        end(worker, place, "waiting", **launch(child))
    above = dict(Run.objects.filter(parent_run_id__in=roots).values_list("pk", "parent_run_id"))
    places = sorted(claim(worker, 2 * ROUNDS), key=lambda place: (above[place[0]], place[0]))

    def begins(place):
        given = launch(child)
        given["more"]["launch"] |= {"most": 3, "full": {"class": "permanent", "message": "full"}}
        while "busy" in (said := end(worker, place, "waiting", **given)):
            pass
        return said

    gave = race(ROUNDS, lambda n: begins(places[2 * n]), lambda n: begins(places[2 * n + 1]))
    assert all(sorted(map(len, said)) == [1, 1] for said in gave)
    assert {rows(TREE, [root])[0][0] for root in roots} == {3}
    assert Run.objects.filter(root_run_id__in=roots).count() == 3 * ROUNDS
    assert Step.objects.filter(run__in=above, status="failed", error__message="full").count() == ROUNDS
    assert_all_sound([*roots, *above])
