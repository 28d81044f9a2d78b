"""The graph of a definition, and the lines its nodes lead to."""

import pytest

from orchestration.drawing import MOST_NODES, drawing_of, lines_of_steps

TEXT = """\
name: x
input: {steps: {type: string}}
steps:
  # first: not this
  first:
    agent: echo
    with:
      second: 1
  "second": {agent: echo, needs: [first]}

  third:
    approval: {title: t}
output:
  first: 1
"""


def test_each_step_has_its_line():
    assert lines_of_steps(TEXT) == {"first": 5, "second": 9, "third": 11}


@pytest.mark.parametrize("text", ["", "steps: {a: {agent: echo}}", "{", '{"name": "x", "steps": {"a": {}}}'])
def test_where_no_line_is_known_there_is_none(text):
    assert lines_of_steps(text) == {}


def test_a_drawing_says_who_does_each_step(save):
    version = save(TEXT.replace("input: {steps: {type: string}}", "description: y").replace("second: 1", "value: 1"))
    drawing = drawing_of(version.plan, version.text)
    assert [(each.node.name, each.line, each.who) for each in drawing.nodes] == [
        ("first", 5, "echo"),
        ("second", 9, "echo"),
        ("third", 11, "people decide"),
    ]
    assert len(drawing.graph.edges) == 1


def test_a_step_that_runs_a_definition_is_drawn_with_its_name(save):
    save("name: below\nsteps: {a: {agent: echo}}")
    version = save("name: above\nsteps: {a: {run: below}, b: {run: {definition: below}}}")
    drawing = drawing_of(version.plan, version.text)
    assert [(each.who, each.icon) for each in drawing.nodes] == [("below", "play")] * 2


def test_too_many_steps_are_not_drawn():
    steps = [{"name": f"s{n}", "needs": [], "kind": "agent", "agent": "echo"} for n in range(MOST_NODES + 1)]
    assert drawing_of({"steps": steps}, "") is None


def test_of_a_wait_its_run_is_drawn_and_else_what_it_is(save):
    save("name: below\nsteps: {a: {agent: echo}}")
    steps = "a: {wait: {any: [{run: below}, {for: 1h}]}}, b: {wait: {for: 1h}}"
    version = save(f"name: above\nsteps: {{{steps}}}")
    assert [each.who for each in drawing_of(version.plan, version.text).nodes] == ["below", "wait"]
