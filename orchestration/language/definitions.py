"""A definition's text to its checked plan.

`schema.json` says the shape, this module all that a schema cannot: names that must exist, order, expressions, types.
Every check runs over all of the text, so that one save shows all findings.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from . import schemas
from .documents import Node, Unreadable, read
from .expressions import FUNCTIONS, Expression, ExpressionError, Part, Read, bare, compile_expression, split
from .findings import Finding, did_you_mean

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
CHOICES = ["continue", "retry", "abort"]
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
ONCE = {"attempts": 1, "backoff": 1.0, "factor": 2.0, "max": 60.0, "jitter": 0.1}
AGENT_KEYS = ("with", "conversation", "retry", "timeout", "repeatable")
BEFORE = frozenset({"input", "steps", "run", "round", "feedback", "index"})
CALLING = BEFORE | {"attempt"}
AFTER = CALLING | {"output"}
RUN_FIELDS = ("id", "started_by", "organization", "url")
STEP_FIELDS = ("output", "status", "decision")
DECISION_FIELDS = ("choice", "note", "form", "by")
TAKEN_NAME = "new"  # its page would be hidden behind the one that makes a definition
LATEST = "This version does not have it."


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What a definition may rely on. `operations`: {name: {"parameters": schema, "output": schema | None}}."""

    kind: str
    input_schema: Any = None
    output_schema: Any = None
    operations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compiled:
    """`plan` is None if any finding is an error; findings are in the order of the text."""

    plan: dict[str, Any] | None
    findings: list[Finding]


def compile_definition(
    text: str,
    *,
    file: str,
    agents: Mapping[str, AgentFacts],
    policies: Collection[str],
    definitions: Collection[str] = (),
) -> Compiled:
    """Never raises for what `text` holds: that becomes findings. `file` only names the text in them."""
    try:
        root, findings = read(text, file)
    except Unreadable as exc:
        return Compiled(None, [exc.finding])
    compiler = _Compiler(text, file, root, agents, policies, definitions)
    compiler.findings += findings
    compiler.check_shape()
    if isinstance(root.value, dict):
        compiler.check_meaning()
    found = sorted(set(compiler.findings))
    errors = any(finding.severity == "error" for finding in found)
    return Compiled(None if errors else compiler.plan(), found)


def seconds(duration: str) -> float:
    number = duration.rstrip("".join(UNIT_SECONDS))
    return round(float(number) * UNIT_SECONDS[duration[len(number) :]], 6)


Steps = Mapping[str, Mapping[str, Any]]
Where = list[str | int]


class _Compiler:
    def __init__(
        self,
        text: str,
        file: str,
        root: Node,
        agents: Mapping[str, AgentFacts],
        policies: Collection[str],
        definitions: Collection[str],
    ) -> None:
        self.text = text
        self.file = file
        self.root = root
        self.agents = agents
        self.policies = policies
        self.definitions = definitions
        self.findings: list[Finding] = []
        self.output_schemas: dict[str, Any] = {}

    # --- the shape

    def check_shape(self) -> None:
        for error in Draft202012Validator(SCHEMA).iter_errors(self.root.value):
            self.shape_finding(error)

    def shape_finding(self, error: Any) -> None:
        path = list(error.absolute_path)
        schema = error.schema if isinstance(error.schema, Mapping) else {}
        if error.validator == "additionalProperties":
            known = schema["properties"]
            for key in error.instance:
                if key not in known:
                    self.unknown_key([*path, key], known, schema.get("x-later", ()))
        elif error.validator == "required":
            missing = next(key for key in error.validator_value if f"'{key}' is a required" in error.message)
            place = f"{path[-1]} needs" if path else "A definition needs"
            self.find_key(path, "missing-key", f"{place} {missing}.", f"Add {missing}:.")
        elif error.validator == "oneOf":
            self.one_kind(path, error.instance)
        elif "propertyNames" in error.absolute_schema_path:
            self.find_key(
                [*path, error.instance], "step-name", f"{error.instance} cannot be a step's name.", schema["x-fix"]
            )
        elif error.validator == "type" and path and path[-1] == "needs" and isinstance(error.instance, dict):
            self.find(path, "not-in-this-version", f"needs with any or of. {LATEST}", "Write a list of steps.")
        else:
            rule = schema.get("x-rule", "shape")
            self.find(path, rule, f"{_named(path)}{_shape_message(error)}.", schema.get("x-fix", _shape_fix(error)))

    def unknown_key(self, path: Where, known: Collection[str], later: Collection[str]) -> None:
        key = str(path[-1])
        if key in later:
            self.find_key(path, "not-in-this-version", f"{key}: {LATEST}", f"Take {key} out.")
        else:
            self.find_key(path, "unknown-key", f"{key} is not a key of the language here.", did_you_mean(key, known))

    def one_kind(self, path: Where, step: Any) -> None:
        if not isinstance(step, dict):
            return
        kinds = [key for key in ("agent", "approval") if key in step]
        if kinds:
            self.find_key(
                path, "step-kind", f"{path[-1]} is both an agent's step and an approval.", "Make two steps of it."
            )
        elif not any(key in step for key in ("run", "wait", "choose")):
            self.find_key(path, "step-kind", f"{path[-1]} says neither agent nor approval.", "Add agent: or approval:.")

    # --- the meaning; each check passes over what the shape has already refused

    @cached_property
    def steps(self) -> dict[str, dict[str, Any]]:
        steps = self.root.value.get("steps")
        return {name: step for name, step in steps.items() if isinstance(step, dict)} if isinstance(steps, dict) else {}

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        return {
            name: [need for need in _texts(step.get("needs")) if need in self.steps]
            for name, step in self.steps.items()
        }

    @cached_property
    def ancestors(self) -> dict[str, set[str]]:
        return {name: _reachable(name, self.needs) for name in self.steps}

    @cached_property
    def input_schema(self) -> Any:
        schema = self.root.value.get("input")
        return schema if isinstance(schema, dict) and not schemas.check(schema) else None

    def check_meaning(self) -> None:
        if self.root.value.get("name") == TAKEN_NAME:
            self.find(
                ["name"],
                "slug",
                "No definition can be called new, for /definitions/new/ is another page.",
                "Choose another name.",
            )
        self.check_input_schema()
        for name, step in self.steps.items():
            self.check_needs(name, step)
        self.check_cycles()
        for name in self.in_order():
            self.check_step(name, self.steps[name])
        if "output" in self.root.value:
            self.check_template(["output"], self.root.value["output"], None, frozenset({"input", "steps", "run"}))

    def in_order(self) -> list[str]:
        """Those needed first, so that their outputs are known when others read them."""
        return sorted(self.steps, key=lambda name: len(self.ancestors[name]))

    def check_input_schema(self) -> None:
        schema = self.root.value.get("input")
        if not isinstance(schema, dict):
            return
        for path, message in schemas.check(schema):
            self.find(
                ["input", *path], "input-schema", f"The input's JSON Schema: {message}.", "Write JSON Schema 2020-12."
            )

    def check_needs(self, name: str, step: Mapping[str, Any]) -> None:
        for index, need in enumerate(_texts(step.get("needs"))):
            if need not in self.steps:
                self.find(
                    ["steps", name, "needs", index], "unknown-step", f"There is no step {need}.", self.meant(need, name)
                )

    def meant(self, name: str, but: str | None = None) -> str:
        return did_you_mean(name, [step for step in self.steps if step != but])

    def check_cycles(self) -> None:
        told: set[str] = set()
        for name in self.steps:
            if name in self.ancestors[name] and name not in told:
                cycle = _cycle(name, self.needs)
                told |= {*cycle, *(other for other in self.ancestors[name] if name in self.ancestors[other])}
                words = " -> ".join(cycle)
                self.find(
                    ["steps", name, "needs"],
                    "cycle",
                    f"These steps wait for each other: {words}.",
                    "Take one need out.",
                )

    def check_step(self, name: str, step: Mapping[str, Any]) -> None:
        at: Where = ["steps", name]
        self.check_condition(name, step)
        if isinstance(step.get("approval"), dict):
            self.check_approval(name, step, step["approval"])
        if "agent" in step:
            self.check_agent(name, step)
        deliverable = step.get("deliverable")
        if isinstance(deliverable, dict):
            for key in ("title", "content"):
                self.check_template([*at, "deliverable", key], deliverable.get(key), name, AFTER)

    def check_condition(self, name: str, step: Mapping[str, Any]) -> None:
        condition = step.get("if")
        if not isinstance(condition, str):
            return
        at: Where = ["steps", name, "if"]
        try:
            expression = compile_expression(bare(condition))
        except ExpressionError as exc:
            if condition.count("${{") == 1:
                self.check_template(at, condition, name, BEFORE)
            if condition.count("${{") != 1 or not any(item.line == self.root.at(at).line for item in self.findings):
                self.find_in(at, bare(condition), exc.offset, "expression", f"{exc}.", "Write one CEL condition.")
            return
        self.check_expression(at, expression, name, BEFORE)
        types = schemas.types_of(self.schema_of(expression.path)) if expression.path else None
        if types is not None and "boolean" not in types:
            message = f"`{expression.source}` is {' or '.join(sorted(types))}, not true or false."
            self.find(at, "condition", message, "Compare it with something.")

    # --- agents

    def check_agent(self, name: str, step: Mapping[str, Any]) -> None:
        at: Where = ["steps", name]
        self.check_template([*at, "with"], step.get("with"), name, CALLING)
        for index, message in enumerate(_list(step.get("conversation"))):
            if isinstance(message, dict):
                self.check_template([*at, "conversation", index, "content"], message.get("content"), name, CALLING)
        self.check_retry(at, step.get("retry"))
        facts = self.agents.get(step["agent"]) if isinstance(step["agent"], str) else None
        if facts is None:
            self.unknown_agent([*at, "agent"], step["agent"])
            return
        if "conversation" in step and facts.kind != "context":
            message = f"{step['agent']} is a {facts.kind} agent, and only context agents hold a conversation."
            self.find_key([*at, "conversation"], "conversation", message, "Hand the words in with:.")
        self.output_schemas[name] = facts.output_schema
        if facts.operations:
            self.check_operation(name, step, facts)
        elif "with" in step or "conversation" not in step:
            self.check_literals(name, step.get("with", {}), facts.input_schema)

    def unknown_agent(self, at: Where, agent: Any) -> None:
        if not isinstance(agent, str):
            return
        fix = did_you_mean(agent, self.agents)
        if agent in self.definitions:
            fix = f"{agent} is a definition: name the orchestrator agent that runs it."
        self.find(at, "unknown-agent", f"There is no agent {agent}.", fix)

    def check_retry(self, at: Where, retry: Any) -> None:
        times = {key: value for key in ("backoff", "max") if (value := self.duration(retry, key)) is not None}
        if len(times) == 2 and times["max"] < times["backoff"]:
            self.find([*at, "retry", "max"], "retry", "max is shorter than backoff.", "Make max at least as long.")

    def duration(self, above: Any, key: str) -> float | None:
        text = above.get(key) if isinstance(above, dict) else None
        matches = isinstance(text, str) and re.fullmatch(SCHEMA["$defs"]["duration"]["pattern"], text)
        return seconds(text) if matches and isinstance(text, str) else None

    def check_operation(self, name: str, step: Mapping[str, Any], facts: AgentFacts) -> None:
        at: Where = ["steps", name, "with", "operation"]
        given = step.get("with")
        operation = given.get("operation") if isinstance(given, dict) else None
        if operation is None:
            message = f"{step['agent']} needs to know which operation."
            self.find_key(at, "unknown-operation", message, f"Add operation: {' or '.join(sorted(facts.operations))}.")
        elif not isinstance(operation, str) or operation not in facts.operations:
            if "${{" not in str(operation):
                message = f"{step['agent']} has no operation {operation}."
                self.find(at, "unknown-operation", message, did_you_mean(str(operation), facts.operations))
        else:
            facts_of = facts.operations[operation]
            self.output_schemas[name] = facts_of.get("output") or facts.output_schema
            parameters = {key: value for key, value in step["with"].items() if key != "operation"}
            self.check_literals(name, parameters, facts_of.get("parameters"))

    def check_literals(self, name: str, value: Any, schema: Any) -> None:
        """What is written in `with` against what the agent takes, its templates counted as whatever they can be."""
        if not isinstance(schema, dict) or not isinstance(value, dict):
            return
        try:
            filled = schemas.with_holes(value, self.schema_of)
        except ExpressionError:
            return
        error: Any  # the stubs know its members as perhaps unset
        for error in schemas.literal_errors(schema, filled):
            path: Where = ["steps", name, "with", *error.absolute_path]
            if error.validator == "additionalProperties" and isinstance(error.schema, Mapping):
                for key in [key for key in error.instance if key not in error.schema.get("properties", {})]:
                    fix = did_you_mean(key, error.schema.get("properties", {}))
                    self.find_key([*path, key], "with", f"The agent takes no {key}.", fix)
            else:
                self.find(
                    path, "with", f"The agent does not take this: {error.message}.", "See the agent's input schema."
                )

    # --- approvals

    def check_approval(self, name: str, step: Mapping[str, Any], approval: Mapping[str, Any]) -> None:
        at: Where = ["steps", name, "approval"]
        for key in AGENT_KEYS:
            if key in step and "agent" not in step:
                fix = "Write approval.deadline." if key == "timeout" else f"Take {key} out."
                self.find_key(["steps", name, key], "not-with-approval", f"An approval has no {key}.", fix)
        self.check_template([*at, "title"], approval.get("title"), name, BEFORE)
        self.check_template([*at, "show"], approval.get("show"), name, BEFORE)
        self.output_schemas[name] = self.schema_of_template(approval.get("show"))
        self.check_again(name, at, approval)
        self.check_deadline(at, approval)
        self.check_editable(name, at, approval)
        policy = approval.get("policy", "default")
        if isinstance(policy, str) and policy not in self.policies:
            fix = did_you_mean(policy, self.policies)
            self.find([*at, "policy"], "unknown-policy", f"There is no policy {policy}.", fix)

    def check_again(self, name: str, at: Where, approval: Mapping[str, Any]) -> None:
        choices = approval.get("choices", CHOICES)
        if "retry" in approval and isinstance(choices, list) and "retry" not in choices:
            self.find_key(
                [*at, "retry"], "retry", "retry is not among the choices.", "Add retry to choices, or take this out."
            )
        for index, other in enumerate(_list(approval.get("retry"))):
            if not isinstance(other, str):
                continue
            where: Where = [*at, "retry", index]
            if other not in self.steps:
                self.find(where, "unknown-step", f"There is no step {other}.", self.meant(other, name))
            elif other not in self.ancestors[name] or other == name:
                message = f"{name} does not need {other}, directly or not."
                self.find(where, "retry", message, "Name steps that come before the approval.")

    def check_deadline(self, at: Where, approval: Mapping[str, Any]) -> None:
        deadline = approval.get("deadline")
        choices = approval.get("choices", CHOICES)
        then = deadline.get("then") if isinstance(deadline, dict) else None
        if then in ("continue", "abort") and isinstance(choices, list) and then not in choices:
            message = f"{then} is not among the choices."
            self.find([*at, "deadline", "then"], "deadline", message, f"Add {then} to choices, or choose another.")

    def check_editable(self, name: str, at: Where, approval: Mapping[str, Any]) -> None:
        schema = self.output_schemas[name]
        for index, pointer in enumerate(_texts(approval.get("editable"))):
            where: Where = [*at, "editable", index]
            if "show" not in approval:
                self.find(
                    where, "pointer", "Nothing is shown that could be edited.", "Add show:, or take editable out."
                )
            if pointer and not pointer.startswith("/"):
                continue
            keys = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
            path = tuple(int(key) if key.isdecimal() else key for key in keys)
            found = schemas.follow(schema, path) if schema is not None else None
            if isinstance(found, schemas.Unknown):
                message = f"{pointer}: {keys[found.depth]} is not in what is shown."
                self.find(where, "pointer", message, did_you_mean(keys[found.depth], found.known))

    # --- expressions

    def check_template(self, at: Where, value: Any, step: str | None, roots: frozenset[str]) -> None:
        if isinstance(value, dict):
            for key, below in value.items():
                self.check_template([*at, key], below, step, roots)
        elif isinstance(value, list):
            for index, below in enumerate(value):
                self.check_template([*at, index], below, step, roots)
        elif isinstance(value, str):
            try:
                parts = split(value)
            except ExpressionError as exc:
                fix = "Write CEL, between ${{ and }}."
                self.find_in(at, value, exc.offset, "expression", f"{str(exc).rstrip('.')}.", fix)
                return
            for part in parts:
                if isinstance(part, Part):
                    self.check_expression(at, part.expression, step, roots, value, part.start)

    def check_expression(
        self,
        at: Where,
        expression: Expression,
        step: str | None,
        roots: frozenset[str],
        text: str | None = None,
        start: int = 0,
    ) -> None:
        text = expression.source if text is None else text
        for name, offset in expression.functions.items():
            if name not in FUNCTIONS:
                message = f"There is no function {name}."
                self.find_in(at, text, start + offset, "unknown-function", message, did_you_mean(name, FUNCTIONS))
        for one in expression.reads:
            for depth, rule, message, fix in self.read_findings(one, step, roots):
                self.find_in(at, text, start + one.offsets[depth], rule, message, fix)

    def read_findings(self, one: Read, step: str | None, roots: frozenset[str]) -> Iterator[tuple[int, str, str, str]]:
        first = str(one.path[0])
        if first not in roots:
            known = first in AFTER
            message = f"{first} cannot be read here." if known else f"Expressions know no {first}."
            fix = f"Known here: {', '.join(sorted(roots))}." if known else did_you_mean(first, roots)
            yield 0, "unknown-name", message, fix
        elif first == "steps":
            yield from self.step_read(one, step)
        elif first == "run" and len(one.path) > 1 and one.path[1] not in RUN_FIELDS:
            yield 1, "unknown-field", f"run has no {one.path[1]}.", did_you_mean(str(one.path[1]), RUN_FIELDS)
        elif first == "input":
            yield from self.field_read(one, self.input_schema, 1)
        elif first == "output" and step is not None:
            yield from self.field_read(one, self.output_schemas.get(step), 1)

    def step_read(self, one: Read, step: str | None) -> Iterator[tuple[int, str, str, str]]:
        if len(one.path) < 2:
            yield 0, "unknown-step", "A step must be named where it is read.", "Write steps.NAME.output."
            return
        name = str(one.path[1])
        if name not in self.steps:
            yield 1, "unknown-step", f"There is no step {name}.", self.meant(name, step)
            return
        if step is not None and (name not in self.ancestors[step] or name == step):
            message = f"{step} reads {name} and does not need it, directly or not."
            fix = "Read output in deliverable, after the step." if name == step else f"Add {name} to needs."
            yield 1, "reads-without-need", message, fix
        if len(one.path) < 3:
            yield 1, "unknown-field", f"steps.{name} alone has no value.", f"Write steps.{name}.output."
        elif one.path[2] not in STEP_FIELDS:
            message = f"A step has no {one.path[2]}."
            yield 2, "unknown-field", message, did_you_mean(str(one.path[2]), STEP_FIELDS)
        elif one.path[2] == "output":
            yield from self.field_read(one, self.output_schemas.get(name), 3)
        elif one.path[2] == "decision" and "approval" not in self.steps[name]:
            yield 2, "unknown-field", f"{name} is no approval and has no decision.", f"Write steps.{name}.output."
        elif one.path[2] == "decision" and len(one.path) > 3 and one.path[3] not in DECISION_FIELDS:
            message = f"A decision has no {one.path[3]}."
            yield 3, "unknown-field", message, did_you_mean(str(one.path[3]), DECISION_FIELDS)
        elif one.path[2] == "status" and len(one.path) > 3:
            yield 3, "unknown-field", "A status is text and has no fields.", f"Write steps.{name}.status."

    def field_read(self, one: Read, schema: Any, start: int) -> Iterator[tuple[int, str, str, str]]:
        if schema is None or one.tested:
            return
        found = schemas.follow(schema, one.path[start:])
        if isinstance(found, schemas.Unknown):
            depth = start + found.depth
            above = ".".join(str(key) for key in one.path[:depth])
            fix = did_you_mean(str(one.path[depth]), found.known) if found.known else "Read the value as it is."
            yield depth, "unknown-field", f"{one.path[depth]}: {above} {found.message}.", fix

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

    # --- findings

    def find(self, path: Where, rule: str, message: str, fix: str) -> None:
        self.found_at(self.root.at(path), rule, message, fix)

    def find_key(self, path: Where, rule: str, message: str, fix: str) -> None:
        self.found_at(self.root.key(path), rule, message, fix)

    def found_at(self, node: Node, rule: str, message: str, fix: str) -> None:
        self.findings.append(Finding(self.file, node.line, node.column, rule, message, fix))

    def find_in(self, path: Where, text: str, offset: int, rule: str, message: str, fix: str) -> None:
        """At a character of a node's text, if that text stands in the source as it is; else at the node."""
        node = self.root.at(path)
        start = self.text.find(text, node.start, node.end)
        if start < 0:
            # text folded over lines, or with escapes: the rest of its line may still stand there as it is
            rest = text[offset:].split("\n")[0][:40]
            start = self.text.find(rest, node.start, node.end) - offset if rest.strip() else -1
            if start + offset < node.start:
                self.found_at(node, rule, message, fix)
                return
        place = start + offset
        line = self.text.count("\n", 0, place) + 1
        column = place - (self.text.rfind("\n", 0, place) + 1) + 1
        self.findings.append(Finding(self.file, line, column, rule, message, fix))

    # --- the plan

    def plan(self) -> dict[str, Any]:
        value = self.root.value
        output = value.get("output")
        return {
            "name": value["name"],
            "description": value.get("description", ""),
            "input": value.get("input"),
            "output": output,
            "output_reads": sorted(_reads(output)),
            "steps": [self.plan_step(key, name) for key, name in enumerate(self.steps, start=1)],
        }

    def plan_step(self, key: int, name: str) -> dict[str, Any]:
        step = self.steps[name]
        condition = step.get("if")
        condition = str(condition).lower() if isinstance(condition, bool) else condition
        expression = None if condition is None else compile_expression(bare(condition))
        statuses: Collection[str] = () if expression is None else expression.names.statuses
        reads = _reads([step.get("with"), step.get("conversation"), step.get("approval"), step.get("deliverable")])
        approval = step.get("approval")
        return {
            "key": key,
            "name": name,
            "kind": "agent" if approval is None else "approval",
            "agent": step.get("agent"),
            "needs": self.needs[name],
            "reads": sorted(reads | (expression.names.steps if expression else frozenset())),
            "reads_status": bool(set(statuses) & set(self.needs[name])),
            "if": None if expression is None else expression.source,
            "with": step.get("with"),
            "conversation": step.get("conversation"),
            "retry": self.plan_retry(step.get("retry")),
            "timeout": self.duration(step, "timeout"),
            "repeatable": step.get("repeatable"),
            "approval": None if approval is None else self.plan_approval(name, approval),
            "deliverable": self.plan_deliverable(step.get("deliverable")),
            "output_schema": self.output_schemas.get(name),
        }

    def plan_retry(self, retry: Mapping[str, Any] | None) -> dict[str, Any]:
        if retry is None:
            return dict(ONCE)
        backoff = self.duration(retry, "backoff")
        longest = self.duration(retry, "max")
        backoff = ONCE["backoff"] if backoff is None else backoff
        return {
            "attempts": int(retry["attempts"]),
            "backoff": backoff,
            "factor": float(retry.get("factor", ONCE["factor"])),
            "max": max(ONCE["max"], backoff) if longest is None else longest,
            "jitter": float(retry.get("jitter", ONCE["jitter"])),
        }

    def plan_approval(self, name: str, approval: Mapping[str, Any]) -> dict[str, Any]:
        deadline = approval.get("deadline")
        show = approval.get("show")
        return {
            "title": approval["title"],
            "show": show,
            "choices": approval.get("choices", CHOICES),
            "retry": self.again(name, approval.get("retry", self.needs[name])),
            "editable": _texts(approval.get("editable")),
            "policy": approval.get("policy", "default"),
            "deadline": deadline and {"after": self.duration(deadline, "after"), "then": deadline["then"]},
            "payload_schema": self.output_schemas.get(name),
            "behind": [other for other in self.steps if name in self.needs[other]],
        }

    def again(self, gate: str, named: list[str]) -> list[str]:
        """The steps named and all on a path from them to the gate, in the order of the text."""
        on_path = {step for step in self.ancestors[gate] if step in named or self.ancestors[step] & set(named)}
        return [step for step in self.steps if step in on_path]

    def plan_deliverable(self, deliverable: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if deliverable is None:
            return None
        name = deliverable["name"]
        return {"name": name, "title": deliverable.get("title", name), "content": deliverable["content"]}


def _reads(value: Any) -> frozenset[str]:
    """The steps that a template reads."""
    if isinstance(value, dict):
        return frozenset().union(*(_reads(below) for below in value.values()))
    if isinstance(value, list):
        return frozenset().union(*(_reads(below) for below in value))
    if isinstance(value, str):
        return frozenset().union(*(part.expression.names.steps for part in split(value) if isinstance(part, Part)))
    return frozenset()


def _texts(value: Any) -> list[str]:
    """One text or a list of them, as a list; what is no text is another finding's concern."""
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _reachable(start: str, edges: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    open_ = list(edges[start])
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += edges[name]
    return found


def _cycle(start: str, edges: Mapping[str, list[str]]) -> list[str]:
    """The shortest way from a step back to itself."""
    ways = [[start, name] for name in edges[start]]
    seen = set(edges[start])
    for way in ways:
        if way[-1] == start:
            return way
        for name in edges[way[-1]]:
            if name not in seen or name == start:
                seen.add(name)
                ways.append([*way, name])
    return [start]


def _named(path: Where) -> str:
    names = [str(part) for part in path if not isinstance(part, int)]
    return f"{names[-1]}: " if names else ""


def _shape_message(error: Any) -> str:
    if error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, str) else " or ".join(error.validator_value)
        return f"this must be {wanted}"
    if error.validator == "pattern":
        return f"{error.instance} does not have the form that is asked for"
    return str(error.message)


def _shape_fix(error: Any) -> str:
    if error.validator == "enum":
        return did_you_mean(str(error.instance), [str(value) for value in error.validator_value])
    return "See the reference of the language."
