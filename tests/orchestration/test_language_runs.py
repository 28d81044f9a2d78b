"""Steps that run saved definitions, as the language checks them."""

import pytest

from orchestration import sources
from orchestration.exceptions import InvalidDefinition
from orchestration.language import AgentFacts, DefinitionFacts, compile_definition

MONTH = {
    "type": "object",
    "required": ["month"],
    "properties": {"month": {"type": "string"}},
    "additionalProperties": False,
}
REPORT = {"type": "object", "properties": {"report": {"type": "string"}}, "additionalProperties": False}
DEFINITIONS = {
    "kpi": DefinitionFacts(MONTH, REPORT, number=2),
    "back": DefinitionFacts(runs=("d",)),
    "far": DefinitionFacts(runs=("back", "far")),
}


def found_in(*steps):
    text = "\n".join(["name: d", "steps:", *steps])
    result = compile_definition(
        text, file="f.yaml", agents={"echo": AgentFacts("tool")}, policies=["default"], definitions=DEFINITIONS
    )
    return [(finding.line, finding.column, finding.rule) for finding in result.findings]


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        (["  a: {run: kpi, with: {month: x}}"], []),
        (["  a: {run: {definition: kpi, version: 2, if_parent_ends: leave}}"], []),
        (["  a: {run: kip}"], [(3, 12, "unknown-definition")]),
        (["  a: {run: {definition: kpi, version: 3}}"], [(3, 39, "unknown-definition")]),
        (["  a: {run: {definition: kpi, if_parent_ends: stay}, with: {month: x}}"], [(3, 46, "shape")]),
        (["  a: {run: kpi}"], [(3, 6, "with")]),
        (["  a: {run: kpi, with: {month: 1}}"], [(3, 31, "with")]),
        (["  a: {run: kpi, with: {month: x, year: 1}}"], [(3, 34, "with")]),
        (
            [
                "  a: {run: kpi, with: {month: x}}",
                "  b: {agent: echo, needs: a, with: {x: '${{ steps.a.output.no }}'}}",
            ],
            [(4, 60, "unknown-field")],
        ),
        (["  a: {run: kpi, with: {month: x}, repeatable: true}"], [(3, 35, "step-kind")]),
        (["  a: {run: kpi, with: {month: x}, agent: echo}"], [(3, 3, "step-kind")]),
        (["  a: {run: d}"], [(3, 12, "self-run")]),
        (["  a: {run: d, if: input.again}"], []),
        (["  a: {approval: {title: t}}", "  b: {run: d, needs: a}"], []),
        (["  a: {agent: echo, if: input.x}", "  b: {agent: echo, needs: a}", "  c: {run: d, needs: b}"], []),
        (["  a: {agent: echo, on_failure: b}", "  b: {run: d, needs: a}"], []),
        (["  a: {run: back}"], [(3, 12, "self-run")]),
        (["  a: {run: {definition: far}}"], [(3, 25, "self-run")]),
        (["  a: {run: far, if: input.again}"], []),
    ],
)
def test_findings(steps, found):
    assert found_in(*steps) == found


def test_a_circle_is_named_in_full():
    text = "name: d\nsteps: {a: {run: far}}"
    result = compile_definition(text, file="f.yaml", agents={}, policies=[], definitions=DEFINITIONS)
    assert [finding.message for finding in result.findings] == ["d runs far runs back runs d, again and again."]


@pytest.fixture
def save_set(organization, agents, policies):
    def save_set(*texts):
        files = [sources.Source(f"{number}.yaml", text) for number, text in enumerate(texts)]
        return sources.apply(files, organization=organization, by=None)

    return save_set


ABOVE = "name: above\nsteps: {a: {run: below, with: {n: x}}}\noutput: '${{ steps.a.output.n }}'"
BELOW = "name: below\ninput: {properties: {n: {type: TYPE}}}\nsteps: {b: {agent: echo}}\noutput: {n: '${{ input.n }}'}"


def test_definitions_that_are_saved_together_know_each_other(save_set):
    above, _ = save_set(ABOVE, BELOW.replace("TYPE", "string"))
    (step,) = above.plan["steps"]
    assert step["run"] == {"definition": "below"}
    assert step["output_schema"]["properties"] == {"n": {"type": "string"}}
    assert above.plan["level"] == 1


def rules(save_set, *texts):
    with pytest.raises(InvalidDefinition) as refused:
        save_set(*texts)
    return [(finding.file, finding.rule) for finding in refused.value.findings]


def test_what_is_saved_together_counts_in_place_of_what_there_was(save_set):
    save_set(BELOW.replace("TYPE", "string"))
    assert rules(save_set, ABOVE, BELOW.replace("TYPE", "integer")) == [("0.yaml", "with")]


def test_what_a_run_among_others_that_are_waited_for_is_given_is_checked_in_a_set_too(save_set):
    among = ABOVE.replace("{run: below, with: {n: x}}", "{wait: {any: [{run: below, with: {n: x}}, {for: 1h}]}}")
    among = among.partition("\noutput")[0]
    assert rules(save_set, among, BELOW.replace("TYPE", "integer")) == [("0.yaml", "with")]
    above, _ = save_set(among, BELOW.replace("TYPE", "string"))
    assert above.plan["steps"][0]["wait"]["child"] == {"definition": "below", "with": {"n": "x"}}


def test_one_that_is_wrong_is_not_unknown_to_the_others(save_set):
    assert rules(save_set, ABOVE, "name: below\nsteps: {b: {agent: nobody}}") == [("1.yaml", "unknown-agent")]


def test_a_circle_of_two_that_are_saved_one_after_the_other(save_set):
    save_set("name: one\nsteps: {a: {agent: echo}}")
    save_set("name: two\nsteps: {a: {run: one}}")
    assert rules(save_set, "name: one\nsteps: {a: {run: two}}") == [("0.yaml", "self-run")]


def test_a_circle_within_a_set(save_set):
    both = rules(save_set, "name: one\nsteps: {a: {run: two}}", "name: two\nsteps: {a: {run: one}}")
    assert both == [("0.yaml", "self-run"), ("1.yaml", "self-run")]
