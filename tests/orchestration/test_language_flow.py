"""`map`, `repeat`, `choose` and `needs` of which not all must complete: what is found, and what is planned."""

import pytest

from orchestration.language import AgentFacts, compile_definition
from orchestration.language.draft import DefinitionFacts
from orchestration.models.layouts import layout

LIST = {
    "type": "object",
    "properties": {"rows": {"type": "array", "items": {"type": "number"}}, "n": {"type": "integer"}},
}
NUMBER = {"type": "object", "properties": {"value": {"type": "number"}}, "additionalProperties": False}
AGENTS = {"echo": AgentFacts("tool"), "typed": AgentFacts("tool", NUMBER, NUMBER)}


def compiled(*lines):
    text = "\n".join(
        [
            "name: d",
            "input: {properties: {rows: {type: array, items: {type: number}}, n: {type: integer}}}",
            "steps:",
            *lines,
        ]
    )
    return compile_definition(text, file="f.yaml", agents=AGENTS, policies=["default"])


def planned(*lines):
    result = compiled(*lines)
    assert result.findings == []
    return result.plan


A, B, C = "  a: {agent: echo}", "  b: {agent: echo}", "  c: {agent: echo}"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["  a: {agent: echo, map: {over: 7}}"], [(4, 32, "shape")]),
        (["  a: {agent: echo, map: {as: x}}"], [(4, 20, "missing-key")]),
        (["  a: {agent: echo, map: {over: '${{ input.n }}'}}"], [(4, 32, "map")]),
        (["  a: {agent: echo, map: {over: [1], as: input}}"], [(4, 41, "map-as")]),
        (["  a: {agent: echo, map: {over: [1], as: size}}"], [(4, 41, "map-as")]),
        (["  a: {agent: echo, map: {over: [1], tolerate: 101%}}"], [(4, 47, "map")]),
        (["  a: {agent: echo, map: {over: [1], concurrency: 0}}"], [(4, 50, "map")]),
        (["  a: {agent: echo, map: {over: [1], as: x}, if: x > 1}"], [(4, 49, "unknown-name")]),
        (
            ["  a: {agent: typed, map: {over: '${{ input.rows }}'}, with: {value: '${{ item.x }}'}}"],
            [(4, 79, "unknown-field")],
        ),
        (
            ["  a: {agent: typed, map: {over: '${{ input.rows }}', batch: 2}, with: {value: '${{ item }}'}}"],
            [(4, 79, "with")],
        ),
        (
            ["  a: {agent: echo, map: {over: [1]}, deliverable: {name: x, content: '${{ output.x }}'}}"],
            [(4, 82, "unknown-field")],
        ),
        (["  a: {agent: echo, repeat: {until: true}}"], [(4, 20, "missing-key")]),
        (["  a: {agent: echo, repeat: {until: true, max: 10001}}"], [(4, 47, "repeat")]),
        (["  a: {agent: typed, repeat: {until: output.value, max: 3}}"], [(4, 37, "condition")]),
        (["  a: {agent: typed, repeat: {until: output.x == 1, max: 3}}"], [(4, 44, "unknown-field")]),
        ([A, "  b: {choose: [{else: a}]}"], [(5, 23, "choose-needs")]),
        (
            ["  a: {agent: echo, needs: c}", "  c: {choose: [{else: a}, {if: true, then: b}]}"],
            [(5, 17, "choose"), (5, 44, "unknown-step")],
        ),
        (["  a: {agent: echo, needs: {any: [c]}}", "  c: {choose: [{else: a}]}"], [(5, 23, "choose-needs")]),
        (["  a: {agent: echo, needs: c}", "  c: {choose: [{if: true, then: a}, {else: a}]}"], [(5, 44, "choose")]),
        (["  a: {agent: echo, needs: c}", "  c: {choose: [{if: input.n, then: a}]}"], [(5, 21, "condition")]),
        (["  a: {agent: echo, needs: c}", "  c: {choose: [{then: a}]}"], [(5, 16, "choose")]),
        (["  a: {agent: echo, needs: c}", "  c: {choose: [{else: a}], map: {over: [1]}}"], [(5, 28, "step-kind")]),
        ([A, "  b: {agent: echo, needs: {any: [x]}}"], [(5, 34, "unknown-step")]),
        ([A, "  b: {agent: echo, needs: {of: 2, in: [a]}}"], [(5, 32, "needs")]),
        ([A, "  b: {agent: echo, needs: {of: 2, any: [a]}}"], [(5, 27, "needs")]),
        (["  a: {agent: echo, needs: {any: [b]}}", "  b: {agent: echo, needs: a}"], [(4, 27, "cycle")]),
    ],
)  # fmt: skip
def test_each_finding_names_its_place(lines, found):
    result = compiled(*lines)
    assert [(one.line, one.column, one.rule) for one in result.findings] == found
    assert all(one.message and one.fix for one in result.findings)


BRANCHES = [
    "  c: {choose: [{if: input.n > 1, then: a}, {else: b}]}",
    "  a: {agent: echo, needs: c}",
    "  b: {agent: echo, needs: c}",
]


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        ("{agent: echo, needs: [a, b]}", ["unreachable"]),
        ("{agent: echo, needs: {any: [a, b]}}", []),
        ("{agent: echo, needs: {of: 2, in: [a, b]}}", ["unreachable"]),
        ("{agent: echo, needs: [a, b], if: steps.a.status == 'skipped'}", []),
    ],
)
def test_what_needs_two_branches_of_one_choice_can_never_run(needs, found):
    assert [one.rule for one in compiled(*BRANCHES, f"  d: {needs}").findings] == found


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        ("{of: 2, in: [a, b, x]}", []),
        ("{of: 2, in: [a, b, c1]}", ["unreachable"]),
        ("{of: 3, in: [a, b, c1, x]}", ["unreachable"]),
        ("{of: 2, in: [a, after, c1]}", []),
        ("[after, b]", ["unreachable"]),
    ],
)
def test_of_branches_of_one_choice_only_one_counts(needs, found):
    lines = [
        "  c: {choose: [{if: input.n > 1, then: a}, {if: input.n > 2, then: c1}, {else: b}]}",
        *(f"  {name}: {{agent: echo, needs: c}}" for name in ("a", "b", "c1")),
        "  after: {agent: echo, needs: a}",
        "  x: {agent: echo}",
    ]
    assert [one.rule for one in compiled(*lines, f"  d: {{agent: echo, needs: {needs}}}").findings] == found


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ("{agent: echo, needs: [a, tell]}", ["unreachable"]),
        ("{agent: echo, needs: [after, told]}", ["unreachable"]),
        ("{agent: echo, needs: {of: 2, in: [a, tell, x]}}", []),
        ("{agent: echo, needs: {any: [a, tell]}}", []),
        ("{agent: echo, needs: [a, tell], if: steps.a.status == 'failed'}", []),
        ("{agent: echo, needs: [told]}", []),
        ("{agent: echo, needs: [x, either]}", []),
    ],
)
def test_what_needs_a_step_and_the_one_that_is_done_if_it_fails_can_never_run(step, found):
    lines = [
        "  a: {agent: echo, on_failure: tell}",
        "  tell: {agent: echo, needs: a}",
        "  told: {agent: echo, needs: tell}",
        "  after: {agent: echo, needs: a}",
        "  x: {agent: echo, on_failure: either}",
        "  y: {agent: echo, on_failure: either}",
        "  either: {agent: echo, needs: [x, y]}",
    ]
    assert [one.rule for one in compiled(*lines, f"  d: {step}").findings] == found


def test_one_that_never_runs_is_no_harm_to_who_needs_any():
    lines = ["  a: {agent: echo, if: false}", B, "  d: {agent: echo, needs: {%s}}"]
    assert [
        [one.line for one in compiled(*lines[:2], lines[2] % how).findings]
        for how in ("any: [a, b]", "of: 2, in: [a, b]")
    ] == [[4], [4, 6]]


def test_a_map_is_planned_with_what_is_known_of_an_item():
    plan = planned(
        "  a: {agent: typed, map: {over: '${{ input.rows }}', as: row, tolerate: 10%}, with: {value: '${{ row }}'}}",
        "  b: {agent: typed, needs: a, with: {value: '${{ steps.a.output[0].value }}'}}",
    )
    assert plan["level"] == 1
    assert plan["steps"][0]["map"] == {
        "over": "${{ input.rows }}",
        "as": "row",
        "schema": {"type": "number"},
        "output_schema": NUMBER,
        "concurrency": None,
        "batch": None,
        "tolerate": {"share": 0.1},
    }
    assert plan["steps"][0]["output_schema"] == {"type": "array", "items": {"anyOf": [NUMBER, {"type": "null"}]}}


def test_a_head_reads_what_it_and_its_items_read_and_an_item_its_own():
    plan = planned(
        A, B, C,
        "  d: {agent: echo, needs: [a, b, c], if: steps.c.status == 'completed', map: {over: '${{ steps.a.output }}'},"
        " with: {x: '${{ steps.b.output }}'}, repeat: {until: output.done, max: 2, every: 2s}}",
    )  # fmt: skip
    step = plan["steps"][3]
    assert (step["reads"], step["item_reads"]) == (["a", "b", "c"], ["b"])
    assert step["repeat"] == {"until": "output.done", "every": 2.0, "max": 2}
    assert [row["kind"] for row in layout(plan)] == ["agent", "agent", "agent", "map"]


def test_a_choice_is_a_condition_of_the_steps_that_it_names():
    plan = planned(
        "  a: {agent: echo, needs: size}",
        "  b: {agent: echo, needs: size}",
        "  size: {choose: [{if: input.n > 3, then: a}, {else: b}]}",
    )
    assert plan["steps"][2]["choose"] == [{"if": "input.n > 3", "then": "a"}, {"if": "true", "then": "b"}]
    assert [step.get("chosen_by") for step in plan["steps"]] == [["size"], ["size"], None]
    assert layout(plan)[0]["reads"] == [3]


def test_who_reads_the_status_of_a_need_takes_its_failure_and_no_other():
    plan = planned(A, B, "  d: {agent: echo, needs: [a, b], if: steps.a.status == 'failed'}")
    assert [row["dependants"] for row in layout(plan)] == [[-3], [3], []]
    assert "level" not in plan


def test_of_several_needs_some_may_be_wanting():
    plan = planned(
        A, B, C, "  d: {agent: echo, needs: {any: [a, b, c]}}", "  e: {agent: echo, needs: {of: 2, in: [a, b, c]}}"
    )
    assert [(row["open_needs"], row.get("slack")) for row in layout(plan)[3:]] == [(3, 2), (3, 1)]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("{ttl: 1h}", []),
        ("{ttl: 1h, key: '${{ input.n }}'}", []),
        ("{}", [(4, 20, "missing-key")]),
        ("1h", [(4, 27, "shape")]),
        ("{ttl: 7}", [(4, 33, "duration")]),
        ("{ttl: soon}", [(4, 33, "duration")]),
        ("{ttl: -1h}", [(4, 33, "duration")]),
        ("{ttl: 0s}", [(4, 33, "cache")]),
        ("{ttl: 1h, key: '${{ input.x }}'}", [(4, 53, "unknown-field")]),
        ("{ttl: 1h, key: '${{ attempt }}'}", [(4, 47, "unknown-name")]),
        ("{ttl: 1h, key: '${{ input.n + }}'}", [(4, 56, "expression")]),
        ("{ttl: 1h, until: 2h}", [(4, 37, "unknown-key")]),
        ("{ttl: 1h}, repeatable: false", [(4, 20, "cache")]),
        ("{ttl: 1h}, repeat: {until: true, max: 2}", [(4, 20, "cache")]),
    ],
)
def test_what_is_wrong_with_a_cache(said, found):
    result = compiled(f"  a: {{agent: echo, cache: {said}}}")
    assert [(finding.line, finding.column, finding.rule) for finding in result.findings] == found


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        ("approval: {title: t}", "not-with-approval"),
        ("wait: {for: 1h}", "step-kind"),
        ("run: known", "step-kind"),
        ("choose: [{if: true, then: b}]", "step-kind"),
        ("agent: boss", "cache"),
    ],
)
def test_only_an_agents_answer_is_kept(step, rule):
    text = f"name: d\nsteps:\n  a: {{{step}, cache: {{ttl: 1h}}}}\n  b: {{agent: echo, needs: a}}\n"
    agents = {**AGENTS, "boss": AgentFacts("orchestrator")}
    known = {"known": DefinitionFacts()}
    result = compile_definition(text, file="f.yaml", agents=agents, policies=["default"], definitions=known)
    assert [finding.rule for finding in result.findings] == [rule]


def test_a_cache_in_the_plan():
    (plain,) = planned("  a: {agent: echo, cache: {ttl: 90s}}")["steps"]
    assert plain["cache"] == {"key": None, "ttl": 90.0}
    (keyed,) = planned("  a: {agent: echo, map: {over: [1]}, cache: {key: ['${{ item }}', x], ttl: 1h}}")["steps"]
    assert keyed["cache"] == {"key": ["${{ item }}", "x"], "ttl": 3600.0}
