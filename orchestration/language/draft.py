"""A definition while it is checked: what it says, what it may rely on, and what is known of its values."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

from . import schemas
from .expressions import ExpressionError
from .findings import Findings, did_you_mean
from .nodes import Node, Where

IN_OUTPUT = frozenset({"input", "steps", "run"})
AT_START = frozenset({"input", "run"})  # before there is a run: of it only who starts it, and where
# What an expression of a step may read, by when it is evaluated: once, before its map and its tries; when people are
# asked, when a try begins and when one has ended; and once its whole output is there.
Place = Literal["once", "asking", "calling", "called", "ended"]
ONCE = IN_OUTPUT | {"round", "feedback", "index"}
PLACES: Mapping[Place, frozenset[str]] = {
    "once": ONCE,
    "asking": ONCE,
    "calling": ONCE | {"attempt"},
    "called": ONCE | {"attempt", "output"},
    "ended": ONCE | {"attempt", "output"},
}
OF_THE_WHOLE = ("once", "ended")
EVERYWHERE = frozenset().union(*PLACES.values())


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What a definition may rely on. `operations`: {name: {"parameters": schema, "output": schema | None}}."""

    kind: str
    input_schema: Any = None
    output_schema: Any = None
    operations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DefinitionFacts:
    """`number`: of its newest version. `runs`: the definitions that each run of it runs."""

    input_schema: Any = None
    output_schema: Any = None
    number: int = 0
    runs: Collection[str] = ()


@dataclass(eq=False)
class Draft:
    """`agents`, `policies`, `definitions`: those there are; `output_schemas`: those of the steps checked so far,
    `item_schemas` of one item of their maps.
    `variables`: names that expressions of one step alone may read, with the schemas of their values.
    """

    root: Node
    findings: Findings
    agents: Mapping[str, AgentFacts]
    policies: Collection[str]
    definitions: Mapping[str, DefinitionFacts]
    output_schemas: dict[str, Any] = field(default_factory=dict)
    item_schemas: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)

    # --- the steps

    @cached_property
    def steps(self) -> dict[str, dict[str, Any]]:
        steps = self.root.value.get("steps")
        return {name: step for name, step in steps.items() if isinstance(step, dict)} if isinstance(steps, dict) else {}

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        return {
            name: [need for need in _needed(step.get("needs")) if need in self.steps]
            for name, step in self.steps.items()
        }

    @cached_property
    def handles(self) -> dict[str, list[str]]:
        """Of each step that others name in on_failure: those. It is done if one of them failed so that it is meant."""
        found: dict[str, list[str]] = {}
        for name, step in self.steps.items():
            for target in follows(step):
                found.setdefault(target, []).append(name)
        return found

    @cached_property
    def chosen_by(self) -> dict[str, list[str]]:
        """Of each step that a choice names: those choices."""
        found: dict[str, list[str]] = {}
        for name, step in self.steps.items():
            branches = step.get("choose")
            for branch in branches if isinstance(branches, list) else ():
                target = branch.get("then", branch.get("else")) if isinstance(branch, dict) else None
                if isinstance(target, str):
                    found.setdefault(target, []).append(name)
        return found

    def wanted_of(self, name: str) -> int:
        """How many of its needs must complete."""
        needs = self.steps[name].get("needs")
        if not isinstance(needs, dict):
            return len(self.needs[name])
        wanted = needs.get("of", 1)
        return wanted if isinstance(wanted, int) else 1

    @cached_property
    def ancestors(self) -> dict[str, set[str]]:
        """Of each step those that it needs, directly or not; itself too, if it waits for itself."""
        return {name: reachable(name, self.needs) for name in self.steps}

    def meant(self, name: str, but: str | None = None) -> str:
        return did_you_mean(name, [step for step in self.steps if step != but])

    def roots_of(self, name: str, place: Place) -> frozenset[str]:
        """The names that the expressions of a step may begin with."""
        return PLACES[place] if place in OF_THE_WHOLE else PLACES[place].union(self.variables.get(name, ()))

    @contextmanager
    def knowing(self, step: str, variable: str, schema: Any) -> Iterator[None]:
        """While it lasts, expressions of the step may read this name besides."""
        known = self.variables.get(step)
        self.variables[step] = {**(known or {}), variable: schema}
        try:
            yield
        finally:
            if known is None:
                del self.variables[step]
            else:
                self.variables[step] = known

    # --- the schemas

    @cached_property
    def input_schema(self) -> Any:
        schema = self.root.value.get("input")
        return schema if isinstance(schema, dict) and not schemas.check(schema) else None

    def schemas_at(self, name: str) -> Callable[[tuple[str | int, ...]], Any]:
        """`schema_of` for the expressions of a step."""
        return partial(self.schema_of, step=name)

    def schema_of(self, path: tuple[str | int, ...], step: str) -> Any:
        """The schema of what a path in an expression of this step gives; None if it is not known."""
        schema, rest = None, path[1:]
        if path[0] == "input":
            schema = self.input_schema
        elif path[0] == "steps" and len(path) > 2 and path[2] == "output":
            schema, rest = self.output_schemas.get(str(path[1])), path[3:]
        elif path[0] == "steps" and len(path) == 3 and path[2] == "status":
            return {"type": "string"}
        elif path[0] == "output":
            schema = self.output_schemas.get(step)
        elif path[0] in self.variables.get(step, ()):
            schema = self.variables[step][str(path[0])]
        if schema is None or not rest:
            return schema
        found = schemas.follow(schema, rest)
        return None if isinstance(found, schemas.Unknown) or schemas.has_reference(found) else found

    def schema_of_template(self, value: Any, step: str) -> Any:
        try:
            return schemas.of_template(value, self.schemas_at(step))
        except ExpressionError:
            return None

    def schema_of_one(self, name: str) -> Any:
        """The schema of the output of one item, where the step has a map, else of the step's."""
        return self.item_schemas.get(name, self.output_schemas.get(name))

    # --- the findings

    def find(self, path: Where, rule: str, message: str, fix: str) -> None:
        self.findings.at(self.root.at(path), rule, message, fix)

    def find_key(self, path: Where, rule: str, message: str, fix: str) -> None:
        """At the key that names what is at `path`."""
        self.findings.at(self.root.key(path), rule, message, fix)

    def find_in(self, path: Where, words: str, offset: int, rule: str, message: str, fix: str) -> None:
        """At a character of the words at `path`."""
        self.findings.within(self.root.at(path), words, offset, rule, message, fix)


def follows(step: Mapping[str, Any]) -> list[str]:
    """What its on_failure says, each once: for all errors, or for a class of them."""
    said = step.get("on_failure", "fail")
    each = said.values() if isinstance(said, dict) else [said]
    return list(dict.fromkeys(str(target) for target in each))


def texts(value: Any) -> list[str]:
    """One text or a list of them, as a list; what is no text is another finding's concern."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _needed(needs: Any) -> list[str]:
    return texts(needs.get("any", needs.get("in")) if isinstance(needs, dict) else needs)


def reachable(start: str, edges: Mapping[str, Collection[str]]) -> set[str]:
    """All that these edges lead to; itself too, if they lead back."""
    found: set[str] = set()
    open_ = list(edges[start])
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += edges[name]
    return found
