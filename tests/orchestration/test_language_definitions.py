from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.language import AgentFacts, compile_definition

FLAGSHIP = (Path(__file__).parents[2] / "orchestration/library/kpi-tracking.yaml").read_text(encoding="utf-8")
FIGURES = {"type": "object", "properties": {"rows": {"type": "array"}}, "additionalProperties": False}
WANTS_INTEGER = "output_schema: {properties: {a: {type: integer}}}"
MONTH = {"type": "object", "required": ["month"], "properties": {"month": {"type": "string"}}}
AGENTS = {
    "echo": AgentFacts("tool"),
    "supabase-agent": AgentFacts("tool", operations={"kpi_by_month": {"parameters": MONTH, "output": FIGURES}}),
    "summarizer": AgentFacts(
        "context",
        {"type": "object", "required": ["text"]},
        {"type": "object", "properties": {"markdown": {"type": "string"}}},
    ),
}


def compiled(text):
    return compile_definition(text, file="f.yaml", agents=AGENTS, policies=["default", "finance-sign-off"])


def test_the_flagship_compiles():
    result = compiled(FLAGSHIP)
    assert result.findings == []
    figures, check, summary = result.plan["steps"]
    assert figures["retry"] == {"attempts": 4, "backoff": 2.0, "factor": 2.0, "max": 60.0, "jitter": 0.2}
    assert check["approval"]["retry"] == ["figures"]
    assert check["approval"]["behind"] == ["summary"]
    assert check["approval"]["deadline"] == {"after": 259200.0, "then": "abort"}
    assert check["approval"]["payload_schema"] == FIGURES
    assert (summary["reads"], result.plan["output_reads"]) == (["check"], ["summary"])


def definition(*lines):
    return "\n".join(["name: d", "steps:", *lines])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [(1, 1, "syntax")]),
        ("name: d\nname: e\nsteps: {a: {agent: echo}}", [(2, 1, "duplicate-key")]),
        ("name: d", [(1, 1, "missing-key")]),
        ("name: new\nsteps: {a: {agent: echo}}", [(1, 7, "slug")]),
        (definition("  a: {agent: eco}"), [(3, 14, "unknown-agent")]),
        (definition("  a: {agent: echo, cache: 1}"), [(3, 27, "shape")]),
        (definition("  a: {approval: {title: t, reminder: 1d}}"), [(3, 28, "not-in-this-version")]),
        (definition("  a: {agent: echo, tiemout: 1s}"), [(3, 20, "unknown-key")]),
        (definition("  a: {agent: echo, timeout: 5}"), [(3, 29, "duration")]),
        (definition("  a: {agent: echo, needs: [b, a]}"), [(3, 27, "cycle"), (3, 28, "unknown-step")]),
        (definition("  a: {agent: echo, with: {x: '${{ steps.a.output }}'}}"), [(3, 41, "reads-without-need")]),
        (definition("  a: {agent: echo, if: 1 +}"), [(3, 27, "expression")]),
        (definition("  a: {agent: echo, with: {x: '${{ inptu.a }}'}}"), [(3, 35, "unknown-name")]),
        (definition("  a: {agent: supabase-agent, with: {operation: x}}"), [(3, 48, "unknown-operation")]),
        (definition("  a: {agent: supabase-agent, with: {operation: kpi_by_month, month: 5}}"), [(3, 69, "with")]),
        (
            "name: d\ninput: {properties: {n: {type: integer}}}\n"
            "steps: {a: {agent: supabase-agent, if: input.n, "
            "with: {operation: kpi_by_month, month: '${{ input.n }}'}}}",
            [(3, 40, "condition"), (3, 88, "with")],
        ),
        (definition("  a: {agent: echo, if: false}"), [(3, 24, "unreachable")]),
        (
            definition(
                "  a: {agent: echo, if: '${{ 1 > 2 }}'}",
                "  b: {agent: echo, needs: a}",
                "  c: {agent: echo, needs: [b]}",
                "  d: {agent: echo, needs: [b], if: steps.b.status == 'skipped'}",
                "  e: {agent: echo, needs: [d]}",
            ),
            [(3, 24, "unreachable"), (4, 27, "unreachable"), (5, 27, "unreachable")],
        ),
        (definition("  a: {approval: {title: t, policy: x}}"), [(3, 36, "unknown-policy")]),
        (definition("  a: {approval: {title: t, deadline: {after: 1d, then: retry}}}"), [(3, 56, "deadline")]),
        (definition("  a: {approval: {title: t, choices: [retry]}}"), [(3, 37, "choices")]),
        (definition("  a: {approval: {title: t, retry: [a]}}"), [(3, 36, "retry")]),
        (definition("  a: {approval: {title: t, show: 1, editable: rows}}"), [(3, 47, "pointer")]),
        (definition("  a: {approval: {title: t, show: {b: {c: 1}}, editable: /*/d}}"), [(3, 57, "pointer")]),
        (definition("  a: {approval: {title: t, show: {b: x}, editable: /b/*}}"), [(3, 52, "pointer")]),
        (definition("  a: {approval: {title: t, derived: {/b: 1}}}"), [(3, 28, "pointer")]),
        (definition("  a: {approval: {title: t, show: {b: x}, derived: {b: 1}}}"), [(3, 52, "pointer")]),
        (definition("  a: {approval: {title: t, show: {b: x}, derived: {/c: 1}}}"), [(3, 52, "pointer")]),
        (definition("  a: {approval: {title: t, show: {b: x}, derived: {/b: [1]}}}"), [(3, 56, "shape")]),
        (
            definition("  a: {approval: {title: t, show: {b: {c: 1}}, editable: /b, derived: {/b/c: 2}}}"),
            [(3, 71, "pointer")],
        ),
        (
            definition("  a: {approval: {title: t, show: {b: {c: 1}}, editable: /*/c, derived: {/b: 2}}}"),
            [(3, 73, "pointer")],
        ),
        (
            definition("  a: {approval: {title: t, show: {b: {c: 1}}, derived: {/b/c: '${{ this.d }}'}}}"),
            [(3, 73, "unknown-field")],
        ),
        (
            definition("  a: {approval: {title: t, show: {b: 1}, derived: {/b: '${{ input.d + run.id }}'}}}"),
            [(3, 61, "unknown-name"), (3, 71, "unknown-name")],
        ),
        (
            definition("  a: {approval: {title: t, show: '${{ this.b }}'}}"),
            [(3, 39, "unknown-name")],
        ),
    ],
)
def test_each_finding_names_its_place(text, found):
    result = compiled(text)
    assert [(one.line, one.column, one.rule) for one in result.findings] == found
    assert result.plan is None
    assert all(one.message and one.fix for one in result.findings)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/rows/*/amount", None),
        ("/rows/*", None),
        ("/*", None),
        ("/more/*/anything", None),
        ("/rows/*/amont", ("/rows/*/amont: amont is not in what is shown.", "Did you mean amount?")),
        ("/month/*", ("/month/*: what * is to stand for is string, and holds nothing.", "There are none yet.")),
        ("/none/*", ("/none/*: what * is to stand for is object, and holds nothing.", "There are none yet.")),
    ],
)
def test_what_a_pattern_of_editable_names_is_looked_for_in_what_is_shown(pattern, found):
    row = {"type": "object", "properties": {"amount": {"type": "number"}}, "additionalProperties": False}
    properties = {
        "month": {"type": "string"},
        "rows": {"type": "array", "items": row},
        "more": {"type": "object"},
        "none": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    shows = AgentFacts("tool", output_schema={"type": "object", "properties": properties})
    gate = "{title: t, show: '${{ steps.f.output }}', editable: PATTERN}".replace("PATTERN", pattern)
    text = definition("  f: {agent: shows}", f"  a: {{needs: f, approval: {gate}}}")
    findings = compile_definition(text, file="f.yaml", agents={"shows": shows}, policies=["default"]).findings
    assert [(one.message, one.fix) for one in findings] == ([] if found is None else [found])


@pytest.mark.parametrize(
    ("line", "message", "fix"),
    [
        (
            "a: 7",
            "a: this must be an object: names with values.",
            "Write its keys below it, each on a line of its own.",
        ),
        ("a: {agent: echo, repeatable: 1}", "repeatable: this must be true or false.", "Write true or false."),
        (
            "a: {agent: echo, needs: 7}",
            "needs: this must be a list or text or an object: names with values.",
            "Write a list, such as [a, b].",
        ),
        (
            "a: {agent: echo, timeout: soon}",
            "timeout: this does not have the form that is asked for.",
            "Write a number and ms, s, m, h, d or w, such as 30s.",
        ),
    ],
)
def test_what_has_the_wrong_shape_is_told_in_words(line, message, fix):
    [one] = compiled(definition(f"  {line}")).findings
    assert (one.message, one.fix) == (message, fix)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["output: {a: 1}", "output_schema: {type: objekt}"], [(5, 23, "output-schema")]),
        (["output_schema: {type: object}"], [(4, 1, "output-schema")]),
        (["output: {a: x}", WANTS_INTEGER], [(4, 13, "output-schema")]),
        (["output: {b: 1}", "output_schema: {required: [a]}"], [(4, 9, "output-schema")]),
        (
            ["output: {a: '${{ steps.s.status }}'}", "output_schema: {properties: {a: {type: integer}}}"],
            [(4, 13, "output-schema")],
        ),
        (["output: {a: '${{ steps.s.output }}'}", "output_schema: {properties: {a: {type: integer}}}"], []),
    ],
)
def test_an_output_is_checked_against_its_schema(lines, found):
    result = compiled(definition("  s: {agent: echo}", *lines))
    assert [(one.line, one.column, one.rule) for one in result.findings] == found


def test_a_field_the_output_schema_does_not_have_is_found():
    result = compiled(FLAGSHIP.replace('output.markdown }}"}\n', 'output.markdwon }}"}\n', 1))
    assert [(one.rule, one.fix) for one in result.findings] == [("unknown-field", "Did you mean markdown?")]


def test_aliases_cannot_explode():
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    assert [one.rule for one in compiled(bomb).findings] == ["too-large"]


def test_reading_a_needed_status_keeps_a_step_from_being_skipped():
    result = compiled(definition("  a: {agent: echo}", "  b: {agent: echo, needs: a, if: steps.a.status == 'failed'}"))
    assert [step["reads_status"] for step in result.plan["steps"]] == [False, True]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(FLAGSHIP)), st.integers(0, 40), st.text(":{}[]&*!$\"'\n -abc0", max_size=6))
def test_a_mutated_definition_gives_findings_never_an_error(at, cut, put):
    result = compiled(FLAGSHIP[:at] + put + FLAGSHIP[at + cut :])
    assert (result.plan is None) == bool(result.findings)
