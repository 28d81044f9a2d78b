"""`repeat`: a step again and again, until its output is as it should be."""

import pytest

from agents import tools
from agents.calls import Result
from orchestration.engine.connection import rows
from orchestration.models import Event, Step
from tests.harness import until
from tests.orchestration.engine.looks import types

REPEAT = (
    "  a: {agent: grows, repeat: {until: output.value >= 3, max: %s%s}, with: {}}\noutput: '${{ steps.a.output }}'\n"
)


@pytest.fixture
def grows(save_agent):
    """An agent that gives 1, then 2, then 3, …; and the keys of its calls."""
    keys = []

    def grow(call):
        keys.append(call.idempotency_key)
        return Result({"value": len(keys)})

    tools.register("grows", {"grows": grow})
    save_agent(name="grows", kind="tool", configuration={"tool": "grows"})
    return keys


def passes(run):
    return list(Step.objects.filter(run=run, name="a", head__isnull=False).order_by("key"))


def test_it_is_done_again_until_its_condition_is_true(begin, engine, finished, grows):
    run = begin("name: r\nsteps:\n" + REPEAT % (9, ""))
    engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("completed", {"value": 3})
    assert [(one.index, one.pass_number, one.status) for one in passes(run)] == [(n, n, "completed") for n in range(3)]
    assert grows == [f"{run.public_id}:a:1:{n}:{n}" for n in range(3)]
    assert types(run).count("step.waiting") == 3


def test_it_fails_if_its_condition_is_never_true(begin, engine, finished, grows):
    run = begin("name: r\nsteps:\n" + REPEAT % (2, ""))
    engine.look()
    run = finished(run)
    assert run.error == {
        "class": "permanent",
        "message": "Its condition was not true after 2 passes.",
        "step": "a",
    }


def test_between_two_passes_nobody_waits_but_the_row(begin, engine, finished, grows):
    run = begin("name: r\nsteps:\n" + REPEAT % (9, ", every: 1h"))
    engine.look()
    for number in (1, 2):
        until(lambda number=number: [one.status for one in passes(run)] == ["completed"] * number + ["waiting"])
        last = passes(run)[-1]
        assert (last.waits_for, last.due_as) == ("time", "ready")
        told = Event.objects.filter(run_id=run.pk, key=last.key).get()
        assert (told.type, told.data["waits_for"], "until" in told.data) == ("step.waiting", "time", True)
        rows(
            "update orchestration_step set wake_at = clock_timestamp() where run_id = %s and key = %s",
            [run.pk, last.key],
        )
        engine.look()
    assert finished(run).output == {"value": 3}


def test_a_pass_that_fails_fails_it_and_its_tries_are_its_own(begin, engine, finished):
    text = (
        "  a: {agent: echo, repeat: {until: index == 1, max: 3}, retry: {attempts: 2, backoff: 1ms},"
        " with: {value: 1, fail: '${{ input.fail }}'}}\n"
    )
    good, bad = begin(text, {"fail": {"times": 1}}), begin(text, {"fail": {"times": 2}})
    engine.look()
    assert finished(good).status == "completed"
    assert [one.attempt for one in passes(good)] == [2, 2]
    bad = finished(bad)
    assert (bad.error["class"], [one.status for one in passes(bad)]) == ("temporary", ["failed"])


def test_a_condition_that_errs_fails_it(begin, engine, finished):
    run = begin("  a: {agent: echo, repeat: {until: output.value.x == 1, max: 3}, with: {value: 1}}\n")
    engine.look()
    assert finished(run).error["class"] == "expression"


def test_each_item_of_a_map_repeats_for_itself(begin, engine, finished):
    text = (
        "  a: {agent: echo, map: {over: [1, 2, 3], as: goal, concurrency: 2},"
        " repeat: {until: output.value == goal, max: 5}, with: {value: '${{ index + 1 }}'}}\n"
        "output: '${{ steps.a.output }}'\n"
    )
    run = begin("name: r\nsteps:\n" + text)
    engine.look()
    assert finished(run).output == [{"value": 1}, {"value": 2}, {"value": 3}]
    assert [(one.index, one.pass_number) for one in passes(run) if one.kind == "agent"].count((2, 2)) == 1
    assert len([one for one in passes(run) if one.kind == "agent"]) == 6
