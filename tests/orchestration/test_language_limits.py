"""`concurrency` and `rate` of steps: what is found, and what is planned."""

import pytest

from orchestration.language import AgentFacts, compile_definition
from orchestration.models.layouts import layout

INPUT = "input: {type: object, properties: {who: {type: string}, rows: {type: array}}}"


def compiled(step):
    text = "\n".join(["name: d", INPUT, "steps:", f"  a: {step}"])
    return compile_definition(text, file="f.yaml", agents={"echo": AgentFacts("tool")}, policies=["default"])


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("concurrency: {max: 3}", []),
        ("concurrency: [{key: t, max: 3}, {key: 'u-${{ input.who }}', max: 1}]", []),
        ("rate: {max: 5, per: 1m, units: '${{ size(input.rows) }}'}", []),
        ("concurrency: {max: 0}", [(39, "limit")]),
        ("concurrency: {max: many}", [(39, "limit")]),
        ("concurrency: 3", [(33, "limit")]),
        ("concurrency: []", [(33, "limit")]),
        ("concurrency: {key: t}", [(20, "missing-key")]),
        ("concurrency: {max: 1, per: 1m}", [(42, "unknown-key")]),
        ("concurrency: [{max: 1}, {max: 2}, {key: x, max: 3}]", [(44, "limit")]),
        ("concurrency: [{key: x, max: 1}, {key: x, max: 2}]", [(52, "limit")]),
        (f"concurrency: {{key: {'x' * 201}, max: 1}}", [(39, "limit")]),
        ("concurrency: {key: '${{ input.whom }}', max: 1}", [(50, "unknown-field")]),
        ("concurrency: {key: '${{ output.id }}', max: 1}", [(44, "unknown-name")]),
        ("rate: {max: 5}", [(20, "missing-key")]),
        ("rate: {max: 5, per: soon}", [(40, "duration")]),
        ("rate: {max: 5, per: 0s}", [(40, "limit")]),
        ("rate: {max: 5, per: 1m, units: 6}", [(51, "limit")]),
        ("rate: {max: 5, per: 1m, units: 0}", [(51, "limit")]),
        ("rate: {max: 5, per: 1m, units: '${{ input.who }}'}", [(51, "limit")]),
    ],
)
def test_each_finding_names_its_place(said, found):
    result = compiled(f"{{agent: echo, {said}}}")
    assert [(each.line, each.column, each.rule) for each in result.findings] == [(4, *place) for place in found]


@pytest.mark.parametrize("kind", ["approval: {title: t}", "wait: {for: 1s}", "choose: [{else: b}]"])
def test_what_calls_nothing_has_no_limits(kind):
    found = compiled(f"{{{kind}, concurrency: {{max: 1}}}}").findings
    assert {"step-kind", "not-with-approval"} & {each.rule for each in found}


def test_limits_are_planned_with_their_keys_and_rows_know_that_there_are_some():
    plan = compiled("{agent: echo, concurrency: {max: 3}, rate: {key: k, max: 5, per: 1m}}").plan
    (step,) = plan["steps"]
    assert step["concurrency"] == [{"key": "d/a", "max": 3}]
    assert step["rate"] == [{"key": "k", "max": 5, "per": 60.0, "units": 1}]
    assert plan["level"] == 2
    assert [row["limited"] for row in layout(plan)] == [True]
