"""A definition while it is checked: what it says, what it may rely on, and what is known of its values."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from . import schemas
from .expressions import ExpressionError
from .findings import Findings, did_you_mean
from .nodes import Node, Where


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What a definition may rely on. `operations`: {name: {"parameters": schema, "output": schema | None}}."""

    kind: str
    input_schema: Any = None
    output_schema: Any = None
    operations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(eq=False)
class Draft:
    """`agents`, `policies`, `definitions`: those there are; `output_schemas`: those of the steps checked so far."""

    root: Node
    findings: Findings
    agents: Mapping[str, AgentFacts]
    policies: Collection[str]
    definitions: Collection[str]
    output_schemas: dict[str, Any] = field(default_factory=dict)

    # --- the steps

    @cached_property
    def steps(self) -> dict[str, dict[str, Any]]:
        steps = self.root.value.get("steps")
        return {name: step for name, step in steps.items() if isinstance(step, dict)} if isinstance(steps, dict) else {}

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        return {
            name: [need for need in texts(step.get("needs")) if need in self.steps] for name, step in self.steps.items()
        }

    @cached_property
    def ancestors(self) -> dict[str, set[str]]:
        """Of each step those that it needs, directly or not; itself too, if it waits for itself."""
        return {name: _reachable(name, self.needs) for name in self.steps}

    def meant(self, name: str, but: str | None = None) -> str:
        return did_you_mean(name, [step for step in self.steps if step != but])

    # --- the schemas

    @cached_property
    def input_schema(self) -> Any:
        schema = self.root.value.get("input")
        return schema if isinstance(schema, dict) and not schemas.check(schema) else None

    def schema_of(self, path: tuple[str | int, ...]) -> Any:
        """The schema of what an expression's path gives; None if it is not known."""
        schema, rest = None, path[1:]
        if path[0] == "input":
            schema = self.input_schema
        elif path[0] == "steps" and len(path) > 2 and path[2] == "output":
            schema, rest = self.output_schemas.get(str(path[1])), path[3:]
        elif path[0] == "steps" and len(path) == 3 and path[2] == "status":
            return {"type": "string"}
        if schema is None or not rest:
            return schema
        found = schemas.follow(schema, rest)
        return None if isinstance(found, schemas.Unknown) or schemas.has_reference(found) else found

    def schema_of_template(self, value: Any) -> Any:
        try:
            return schemas.of_template(value, self.schema_of)
        except ExpressionError:
            return None

    # --- the findings

    def find(self, path: Where, rule: str, message: str, fix: str) -> None:
        self.findings.at(self.root.at(path), rule, message, fix)

    def find_key(self, path: Where, rule: str, message: str, fix: str) -> None:
        """At the key that names what is at `path`."""
        self.findings.at(self.root.key(path), rule, message, fix)

    def find_in(self, path: Where, words: str, offset: int, rule: str, message: str, fix: str) -> None:
        """At a character of the words at `path`."""
        self.findings.within(self.root.at(path), words, offset, rule, message, fix)


def texts(value: Any) -> list[str]:
    """One text or a list of them, as a list; what is no text is another finding's concern."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _reachable(start: str, edges: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    open_ = list(edges[start])
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += edges[name]
    return found
