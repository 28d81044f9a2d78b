import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.language.expressions import (
    ExpressionError,
    Typing,
    TypingError,
    as_text,
    compile_condition,
    compile_expression,
    compile_template,
)

CONTEXT = {
    "input": {"n": 1, "x": 2.0, "none": None, "list": [1, 2], "s": "hi"},
    "steps": {"a": {"output": {"v": 3}, "status": "completed"}},
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text("abc_", min_size=1), below, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${{ steps.a.output.v + 1 }}", 4),
        ("${{ input.x }}", 2.0),
        (
            "n=${{ input.n }} x=${{ input.x }} ${{ input.none }} ${{ {'a': {'b': true}} }}",
            'n=1 x=2 null {"a": {"b": true}}',
        ),
        ("${{ '}}' }}", "}}"),
        ("no expression }}", "no expression }}"),
        ({"a": ["${{ input.list.map(v, v * 2) }}", 5]}, {"a": [[2, 4], 5]}),
        ("${{ has(input.gone) }}", False),
        ("${{ timestamp('2026-01-01T00:00:00Z') }}", "2026-01-01T00:00:00Z"),
        ("${{ duration('90s') }}", "90s"),
        ("${{ b'a' }}", "YQ=="),
        ("${{ input.s.upperAscii() }}", "HI"),
    ],
)
def test_templates_keep_one_value_and_make_text_of_others(template, value):
    result = compile_template(template).evaluate(CONTEXT)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("input.gone", "no field 'gone'"),
        ("1.0 / 0.0", "infinite"),
        ("18446744073709551615u", "64 bits"),
        ("{1: 2}", "not text"),
        ("input.x + 1", "float + int"),
        ("input.list[7]", "out of bounds"),
        ("'\\u0000'", "zero character"),
    ],
)
def test_a_failing_expression_says_which_and_why(expression, words):
    with pytest.raises(ExpressionError, match=words.replace("+", r"\+")) as refused:
        compile_expression(expression).evaluate(CONTEXT)
    assert expression in str(refused.value)


def test_a_condition_must_be_a_truth_value():
    assert compile_condition("${{ input.n == 1 }}").evaluate(CONTEXT) is True
    with pytest.raises(ExpressionError, match="true or false"):
        compile_condition("input.n").evaluate(CONTEXT)


def test_numbers_follow_their_schema():
    schema = {"properties": {"a": {"type": "number"}, "b": {"type": "integer"}, "c": {"$ref": "#/properties/a"}}}
    assert repr(Typing(schema).apply({"a": 1, "b": 2.0, "c": 3, "d": 4.0})) == "{'a': 1.0, 'b': 2, 'c': 3.0, 'd': 4}"
    with pytest.raises(TypingError, match="64 bits"):
        Typing(schema).apply({"d": 2**63})


def test_names_in_strings_and_bound_names_are_not_read():
    expression = "steps.a.output.v > 1 && 'steps.b.output' != steps['c'].status && input.list.all(v, v > 0)"
    names = compile_expression(expression).names
    assert (names.outputs, names.statuses, names.roots) == ({"a"}, {"c"}, {"input", "steps"})


@given(JSON)
def test_a_value_goes_through_a_template_unchanged(value):
    kept = Typing(None).apply(value)
    assert compile_template("${{ input }}").evaluate({"input": kept}) == kept
    assert compile_template("${{ [input][0] }}").evaluate({"input": kept}) == kept


@given(JSON)
def test_values_in_text_are_json(value):
    text = compile_template("=${{ input }}").evaluate({"input": value})
    assert text == "=" + as_text(value)
    if not isinstance(value, str):
        assert json.loads(text[1:]) == value


@given(st.text(max_size=60))
def test_any_text_compiles_or_is_refused(text):
    with suppress(ExpressionError):
        compile_template("${{" + text + "}}").evaluate(CONTEXT)


MADE = '{"z": 1, "y": 2, "x": 3, "w": 4, "v": 5, "u": 6, "t": {"s": 7, "r": 8, "q": 9, "p": 10}}'


@pytest.mark.parametrize("source", [MADE, f"[{MADE}][0]", f"input.list.map(each, {MADE})[0]"])
def test_a_map_that_an_expression_makes_has_one_order_in_every_text(source):
    texts = {json.dumps(compile_expression(source).evaluate(CONTEXT)) for _ in range(20)}
    assert texts == {json.dumps(json.loads(MADE), sort_keys=True)}
