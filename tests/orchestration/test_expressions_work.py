"""Expressions that explode are refused before they run; those over long lists are evaluated a part at a time."""

import pytest

from orchestration.language import AgentFacts, compile_definition
from orchestration.language.expressions import ExpressionError, compile_expression
from orchestration.models import Event
from tests.harness import assert_sound

LIST = list(range(2_000))
ROWS = [{"id": number, "name": f"n{number}", "tags": ["a", "b"]} for number in LIST]
CONTEXT = {"input": {"list": LIST, "rows": ROWS, "text": "x" * 100_000, "few": [1, 2, 3]}}
EXPLOSIVE = [
    "input.list.map(x, input.list.map(y, x + y))",
    "input.list.all(x, input.list.all(y, x + y >= 0))",
    "input.few" + ".map(x, input.list).flatten()" * 3,
    "input.few.all(x," * 20 + "true" + ")" * 20,
    "[input.text]" + ".map(t, t + t)" * 40,
    "input.text" + ".replace('x', 'xxxx')" * 20,
    "replace(replace(input.text, 'x', input.text), 'x', input.text)",
    "input.list.map(x, input.text).join(input.text)",
    "input.list.map(x, string(x)).join(input.text).split('')",
    "+".join(["input.text"] * 300),
    "input.rows.all(row, 'a'.matches(input.text))",
    "input.rows.all(row, 'a'.matches('(\\\\w{100}){100}'))",
    "[input.rows.map(x, x)]",
    "input.rows.filter(row, input.rows.exists(other, other == row))",
]
HARMLESS = [
    ("input.list.map(x, x * 2)", [number * 2 for number in LIST]),
    ("input.list.filter(x, x >= 1998)", [1998, 1999]),
    ("input.rows.map(row, {'id': row.id, 'first': row.tags[0]})", [{"id": n, "first": "a"} for n in LIST]),
    ("input.rows.filter(row, row.id in [1, 1999]).map(row, row.name)", ["n1", "n1999"]),
    ("input.rows.filter(row, row.name.matches('^n1\\\\d{3}$')).size()", 1_000),
    ("input.list.map(x, x % 500 == 0, x + size(input.few))", [3, 503, 1003, 1503]),
    ("input.list.map(x, input.list.size())[0]", 2_000),
    ("input.list.sum() + input.list.size()", 2_001_000),
    ("input.list.filter(x, input.few.exists(y, y == x))", [1, 2, 3]),
]


@pytest.mark.parametrize("source", EXPLOSIVE)
def test_what_can_explode_is_refused_before_it_runs(source):
    with pytest.raises(ExpressionError, match="EXPRESSION_MOST_WORK"):
        compile_expression(source).evaluate(CONTEXT)


@pytest.mark.parametrize(("source", "given"), HARMLESS)
def test_what_people_write_gives_its_value_over_long_lists_too(source, given):
    assert compile_expression(source).evaluate(CONTEXT) == given


@pytest.mark.parametrize("length", [0, 1, 199, 200, 201, 401])
def test_a_list_in_parts_gives_what_the_whole_does(length):
    context = {"input": {"list": LIST[:length]}}
    for chain in (
        ".map(x, x + 1)",
        ".filter(x, x % 3 == 0)",
        ".filter(x, x > 2).map(x, [x])",
        ".map(x, 'a').join()",
    ):
        whole = compile_expression(f"(input.list){chain}").evaluate(context)
        assert compile_expression(f"input.list{chain}").evaluate(context) == whole


def test_an_error_in_a_part_names_the_expression_as_it_is_written():
    with pytest.raises(ExpressionError, match=r"^`input\.rows\.map\(row, row\.gone\)`: there is no field 'gone'"):
        compile_expression("input.rows.map(row, row.gone)").evaluate(CONTEXT)


def test_what_explodes_by_itself_is_found_when_it_is_saved():
    text = "name: d\nsteps:\n  a: {agent: echo, with: {x: \"${{ ['ab']" + ".map(t, t + t)" * 60 + ' }}"}}'
    (one,) = compile_definition(text, file="f.yaml", agents={"echo": AgentFacts("tool")}, policies=()).findings
    assert (one.line, one.column, one.rule) == (3, 35, "expression")
    assert "EXPRESSION_MOST_WORK" in one.message


def test_a_step_whose_expression_explodes_fails_and_its_worker_goes_on(begin, engine, finished):
    explosive = "input.list.map(x, input.list.map(y, x + y))"
    run = begin(
        f'  a: {{agent: echo, retry: {{attempts: 3}}, with: {{value: "${{{{ {explosive} }}}}"}}}}\n', {"list": LIST}
    )
    other = begin("  a: {agent: echo, with: {value: 1}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "expression")
    assert "EXPRESSION_MOST_WORK" in run.error["message"]
    assert Event.objects.filter(run_id=run.pk, type="step.started").count() == 1
    assert finished(other).status == "completed"
    assert_sound(run.pk)
