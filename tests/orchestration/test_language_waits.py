import pytest

from orchestration.language import AgentFacts, compile_definition
from orchestration.language.draft import DefinitionFacts

TAKES_N = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
DEFINITIONS = {"child": DefinitionFacts(TAKES_N, number=2)}


def compiled(wait, *more):
    text = "\n".join(["name: d", "steps:", f"  w: {{wait: {wait}}}", *more])
    agents = {"echo": AgentFacts("tool")}
    return compile_definition(text, file="f.yaml", agents=agents, policies=["default"], definitions=DEFINITIONS)


@pytest.mark.parametrize(
    ("wait", "first_of", "timeout"),
    [
        ("{for: 2h}", [{"for": "2h"}], None),
        ('{until: "2026-12-01T09:00+01:00"}', [{"until": "2026-12-01T09:00+01:00"}], None),
        ("{event: paid, key: 7, timeout: 3d}", [{"event": "paid", "key": 7}], 259200.0),
        ("{any: [{event: paid}, {for: 1w}]}", [{"event": "paid"}, {"for": "1w"}], None),
    ],
)
def test_a_wait_is_compiled(wait, first_of, timeout):
    found = compiled(wait)
    assert found.findings == []
    (step,) = found.plan["steps"]
    assert (step["kind"], step["wait"], found.plan["level"]) == ("wait", {"first_of": first_of, "timeout": timeout}, 1)


@pytest.mark.parametrize(
    ("wait", "found"),
    [
        ("{}", [(3, 13, "wait")]),
        ("soon", [(3, 13, "shape")]),
        ("{for: 1h, event: paid}", [(3, 13, "wait")]),
        ("{for: soon}", [(3, 19, "duration")]),
        ("{for: 99999w}", [(3, 19, "duration")]),
        ('{until: "2026-12-01T09:00"}', [(3, 21, "time")]),
        ('{until: "2026-13-01T09:00Z"}', [(3, 21, "time")]),
        ("{for: 1h, timeout: 2h}", [(3, 23, "wait")]),
        ("{for: 1h, key: x}", [(3, 23, "wait")]),
        ("{event: paid, timeout: soon}", [(3, 36, "duration")]),
        ("{event: ''}", [(3, 21, "shape")]),
        ("{any: []}", [(3, 19, "shape")]),
        ("{any: [{for: 1h, until: x}]}", [(3, 20, "wait"), (3, 37, "time")]),
        ("{any: [{any: [{for: 1h}]}]}", [(3, 21, "unknown-key")]),
        ("{event: paid, key: '${{ inptu.n }}'}", [(3, 37, "unknown-name")]),
    ],
)
def test_what_is_wrong_with_a_wait_is_found_at_its_place(wait, found):
    result = compiled(wait)
    assert [(one.line, one.column, one.rule) for one in result.findings] == found
    assert all(one.message and one.fix for one in result.findings)


def test_what_does_not_belong_to_a_wait_is_found():
    rules = [one.rule for one in compiled("{for: 1h}, with: {a: 1}, retry: {attempts: 2}").findings]
    assert rules == ["step-kind", "step-kind"]


def test_the_output_of_a_wait_for_a_time_is_known_to_be_nothing():
    found = compiled("{for: 1h}", "  b: {agent: echo, needs: [w], with: {x: '${{ steps.w.output.amount }}'}}")
    assert [one.rule for one in found.findings] == ["unknown-field"]
    assert compiled("{event: e}", "  b: {agent: echo, needs: [w], with: {x: '${{ steps.w.output.a }}'}}").findings == []


@pytest.mark.parametrize(
    ("read", "rules"),
    [("w.event.key", []), ("w.event.kee", ["unknown-field"]), ("a.event.key", ["unknown-field"])],
)
def test_only_a_wait_has_an_event(read, rules):
    reader = f"  b: {{agent: echo, needs: [w, a], with: {{x: '${{{{ steps.{read} }}}}'}}}}"
    found = compiled("{event: paid}", "  a: {agent: echo}", reader)
    assert [one.rule for one in found.findings] == rules


TAKES = """messages:
  bid: {schema: {type: object, properties: {n: {type: integer}}}, if: message.n > 1, reply: {of: 1}}
  note: {}
"""


def test_messages_are_compiled():
    found = compiled("{message: bid, timeout: 1h}", TAKES)
    assert found.findings == []
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert found.plan["messages"] == {
        "bid": {"schema": schema, "if": "message.n > 1", "reply": {"of": 1}, "reads": []},
        "note": {"schema": None, "if": None, "reply": None, "reads": []},
    }
    (step,) = found.plan["steps"]
    assert step["wait"] == {"first_of": [{"message": "bid"}], "timeout": 3600.0}
    assert (step["output_schema"], found.plan["level"]) == (schema, 2)


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ("{bid: {}, more: {}}", []),
        ("{note: {}}", [(3, 23, "unknown-message")]),
        ("{}", [(3, 23, "unknown-message"), (4, 11, "shape")]),
        ("{bid: {}, Bid: {}}", [(4, 21, "message")]),
        ("{bid: {schema: {type: whole}}}", [(4, 33, "message")]),
        ("{bid: {if: message >}}", [(4, 31, "expression")]),
        ("{bid: {if: output.a == 1}}", [(4, 22, "unknown-name")]),
        ("{bid: {if: steps.v.output == 1}}", [(4, 28, "unknown-step")]),
        ("{bid: {if: message, schema: {type: string}}}", [(4, 22, "condition")]),
        ("{bid: {reply: '${{ message.n }}', schema: {type: object, properties: {m: {}}}}}", [(4, 38, "unknown-field")]),
        ("{bid: {check: 1}}", [(4, 18, "unknown-key")]),
    ],
)
def test_what_is_wrong_with_messages_is_found_at_its_place(messages, found):
    result = compiled("{message: bid}", f"messages: {messages}")
    assert [(one.line, one.column, one.rule) for one in result.findings] == found
    assert all(one.message and one.fix for one in result.findings)


@pytest.mark.parametrize(
    ("said", "child"),
    [
        ("{run: child, with: {n: 1}}", {"definition": "child", "with": {"n": 1}}),
        (
            "{run: {definition: child, version: 2, if_parent_ends: leave}}",
            {"definition": "child", "version": 2, "if_parent_ends": "leave", "with": None},
        ),
        ("{run: d}", {"definition": "d", "with": None}),
    ],
)
def test_a_run_among_what_is_waited_for_is_compiled(said, child):
    found = compiled(f"{{any: [{{for: 1h}}, {said}, {{event: e}}], timeout: 1d}}")
    assert found.findings == []
    (step,) = found.plan["steps"]
    assert step["wait"] == {"first_of": [{"for": "1h"}, {"event": "e"}], "timeout": 86400.0, "child": child}
    assert (step["output_schema"], found.plan["level"]) == (None, 4)


@pytest.mark.parametrize(
    ("wait", "found"),
    [
        ("{any: [{run: chidl}, {for: 1h}]}", [(3, 26, "unknown-definition", "Did you mean child?")]),
        (
            "{any: [{run: {definition: child, version: 3}}, {for: 1h}]}",
            [(3, 55, "unknown-definition", "Its newest is 2.")],
        ),
        ("{any: [{run: child, with: {n: a}}, {for: 1h}]}", [(3, 43, "with", "See the definition's input schema.")]),
        ("{any: [{run: child, with: {n: 1, m: 2}}, {for: 1h}]}", [(3, 46, "with", "Known here: n.")]),
        (
            "{any: [{run: child, with: {n: '${{ inptu.n }}'}}, {for: 1h}]}",
            [(3, 48, "unknown-name", "Did you mean input?")],
        ),
        (
            "{any: [{run: child, with: {n: 1}}, {for: 1h}, {run: child, with: {n: 2}}]}",
            [(3, 60, "wait", "Let a step of its own run it, and another need any of them.")],
        ),
        ("{any: [{run: child, with: {n: 1}}]}", [(3, 21, "wait", "Write run: and with: in place of wait:.")]),
        (
            "{any: [{run: child, with: {n: 1}, event: e}, {for: 1h}]}",
            [(3, 20, "wait", "Write them as a list below any:.")],
        ),
        ("{any: [{for: 1h, with: {n: 1}}, {event: e}]}", [(3, 30, "wait", "Take with out.")]),
        ("{any: [{run: child, with: {n: 1}, key: k}, {for: 1h}]}", [(3, 47, "wait", "Take key out.")]),
        ("{any: [{run: 7}, {for: 1h}]}", [(3, 26, "shape", "See the reference of the language.")]),
    ],
)
def test_what_is_wrong_with_a_run_among_them_is_found_at_its_place(wait, found):
    assert [(one.line, one.column, one.rule, one.fix) for one in compiled(wait).findings] == found


def test_a_run_stands_only_among_several():
    rules = [one.rule for one in compiled("{run: child}").findings]
    assert rules == ["unknown-key"]


def test_what_its_input_reads_is_needed_first():
    read = "{any: [{run: child, with: {n: '${{ steps.a.output.n }}'}}, {for: 1h}]}"
    assert [one.rule for one in compiled(read, "  a: {agent: echo}").findings] == ["reads-without-need"]
    found = compiled(f"{read}, needs: [a]", "  a: {agent: echo}")
    assert found.findings == []
    assert found.plan["steps"][0]["reads"] == ["a"]


@pytest.mark.parametrize(("first", "rules"), [("{run: child, with: {n: 1}}", []), ("{event: e}", ["on-failure"])])
def test_a_wait_can_end_as_its_run_did_if_it_has_one(first, rules):
    found = compiled(f"{{any: [{first}, {{for: 1h}}]}}, on_failure: {{child_failed: continue}}")
    assert [one.rule for one in found.findings] == rules
