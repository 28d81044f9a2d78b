"""A definition's steps as a graph whose nodes lead to their lines in the text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.graph import Graph, Node, lay_out

MOST_NODES = 200  # a larger graph tells nobody anything
ICONS = {"approval": "hand", "run": "play"}
KEY = re.compile(r"""(\s*)["']?(\w+)["']?\s*:""", re.ASCII)


@dataclass(frozen=True, slots=True)
class StepNode:
    """`line` of the text, from 1; None if it is not known. `who` does the step: an agent, a definition, people; of a
    wait for none of them, or a choice, its kind."""

    node: Node
    line: int | None
    who: str
    is_question: bool
    icon: str


@dataclass(frozen=True, slots=True)
class Drawing:
    graph: Graph
    nodes: list[StepNode]


def drawing_of(plan: Mapping[str, Any], text: str) -> Drawing | None:
    """None for more steps than are drawn."""
    steps = {step["name"]: step for step in plan["steps"]}
    if len(steps) > MOST_NODES:
        return None
    graph = lay_out({name: step["needs"] for name, step in steps.items()})
    lines = lines_of_steps(text)
    nodes = []
    for node in graph.nodes:
        step = steps[node.name]
        is_question, icon = step["kind"] == "approval", ICONS.get(step["kind"], "bot")
        nodes.append(StepNode(node, lines.get(node.name), who_does(step), is_question, icon))
    return Drawing(graph, nodes)


def who_does(step: Mapping[str, Any]) -> str:
    if step["kind"] == "approval":
        return "people decide"
    run = step.get("run") or step.get("wait", {}).get("child")
    return str(run["definition"] if run else step["agent"] or step["kind"])


def lines_of_steps(text: str) -> dict[str, int]:
    """Where each step begins, read from the indentation: reading YAML anew would take as long as checking it."""
    found: dict[str, int] = {}
    above = own = None
    for number, line in enumerate(text.split("\n"), start=1):
        key = KEY.match(line)
        if key is None:
            continue
        depth = len(key[1])
        if above is None:
            above = depth if key[2] == "steps" else None
        elif depth <= above:
            break
        else:
            own = depth if own is None else own
            if depth == own:
                found.setdefault(key[2], number)
    return found
