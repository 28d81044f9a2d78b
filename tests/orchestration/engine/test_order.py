"""Steps in their order: chains, joins, conditions, and what a skip or a failure does to the steps behind it."""

import pytest

from approvals.models import Request
from orchestration.engine.starts import start
from orchestration.exceptions import InvalidInput, UnknownDefinition
from orchestration.models import Run
from tests.orchestration.engine.looks import statuses, step, types


def test_a_chain_runs_and_its_events_tell_it_once(begin, engine, finished):
    run = begin(
        """
  a: {agent: echo, with: {value: "${{ input.n }}"}}
  b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output.value + 1 }}"}}
output: {n: "${{ steps.b.output.value }}"}
""",
        {"n": 1},
    )
    engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("completed", {"n": 2})
    assert types(run) == [
        "run.started",
        "step.started",
        "step.completed",
        "step.started",
        "step.completed",
        "run.completed",
    ]


def test_a_join_waits_for_all_of_a_fan_out(begin, engine, finished):
    branches = "".join(
        f"  b{n}: {{agent: echo, needs: [a], with: {{value: {n}, seconds: 0.0{n}}}}}\n" for n in range(6)
    )
    reads = " + ".join(f"steps.b{n}.output.value" for n in range(6))
    names = ", ".join(f"b{n}" for n in range(6))
    join = f"  z: {{agent: echo, needs: [{names}], with: {{value: '${{{{ {reads} }}}}'}}}}\n"
    run = begin(f"  a: {{agent: echo}}\n{branches}{join}")
    engine.look()
    run = finished(run)
    assert (run.status, step(run, "z").output) == ("completed", {"value": 15})


def test_a_false_condition_skips_the_step_and_all_that_need_it(begin, engine, finished):
    run = begin(
        """
  a: {agent: echo, if: "${{ input.go }}"}
  b: {agent: echo, needs: [a]}
  c: {agent: echo, needs: [b]}
  d: {agent: echo, needs: [c], if: "${{ steps.c.status == 'skipped' }}", with: {value: "${{ steps.a.output }}"}}
  free: {agent: echo}
output: {d: "${{ steps.d.output.value }}"}
""",
        {"go": False},
    )
    engine.look()
    run = finished(run)
    assert statuses(run) == {"a": "skipped", "b": "skipped", "c": "skipped", "d": "completed", "free": "completed"}
    assert (run.status, run.output) == ("completed", {"d": None})


def test_a_skipped_gate_parks_nothing(begin, engine, finished):
    run = begin(
        """
  a: {agent: echo, if: "has(input.go)"}
  gate: {needs: [a], approval: {title: t}}
  off: {approval: {title: t}, if: "has(input.go)"}
  b: {agent: echo, needs: [gate]}
"""
    )
    engine.look()
    run = finished(run)
    assert set(statuses(run).values()) == {"skipped"}
    assert (run.status, Request.objects.count()) == ("completed", 0)


def test_a_failure_keeps_other_branches_and_the_first_is_the_runs_error(begin, engine, finished):
    run = begin(
        """
  bad: {agent: echo, with: {value: 1, fail: {kind: permanent}}}
  child: {agent: echo, needs: [bad]}
  told: {agent: echo, needs: [bad], if: "${{ steps.bad.status == 'failed' }}", with: {value: seen}}
  good: {agent: echo, with: {seconds: 0.05}}
  more: {agent: echo, needs: [good], with: {value: 2}}
  late: {agent: echo, needs: [more], with: {fail: {kind: permanent}}}
output: {never: "${{ steps.more.output.value }}"}
"""
    )
    engine.look()
    run = finished(run)
    assert statuses(run) == {
        "bad": "failed",
        "child": "skipped",
        "told": "completed",
        "good": "completed",
        "more": "completed",
        "late": "failed",
    }
    assert (run.status, run.output) == ("failed", None)
    assert (run.error["step"], run.error["class"]) == ("bad", "permanent")


@pytest.mark.parametrize(
    ("text", "error_class"),
    [
        ('  a: {agent: echo, with: {value: "${{ input.x / 0 }}"}}\n', "expression"),
        ('  a: {agent: echo, if: "${{ input.nothing.here }}"}\n', "expression"),
        ('  a: {agent: echo, with: {no_such_field: 1, value: "${{ input.x }}"}}\n', None),
        ('  a: {agent: echo}\noutput: {x: "${{ input.x / 0 }}"}\n', "expression"),
    ],
)
def test_what_errs_in_an_expression_fails_without_another_try(begin, engine, finished, text, error_class):
    if error_class is None:
        with pytest.raises(Exception, match="errors"):
            begin(text, {"x": 1})
        return
    run = begin(text, {"x": 1})
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"], run.output) == ("failed", error_class, None)
    assert types(run).count("step.started") == 1


def test_an_input_against_the_schema_and_an_unknown_definition_start_nothing(begin, committed):
    text = "name: d\ninput: {type: object, required: [month]}\nsteps: {a: {agent: echo}}"
    with pytest.raises(InvalidInput) as refused:
        begin(text, {"year": 1})
    assert refused.value.errors[0]["pointer"] == "/input"
    assert Run.objects.count() == 0


def test_an_unknown_definition_is_refused(db, organization, members):
    with pytest.raises(UnknownDefinition, match="nothing-of-that-name"):
        start(organization=organization, definition="nothing-of-that-name", given={}, by=members.operator)
