"""What definition and agent versions say, compiled once in a process: both never change."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from agents.models import AgentVersion
from agents.runners import Runner, runner_for
from orchestration.language.expressions import Template, Typing, compile_condition, compile_template
from orchestration.models import DefinitionVersion


class StepPlan:
    """One step of a plan. Templates are None where the definition says nothing."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.name: str = spec["name"]
        self.kind: str = spec["kind"]
        self.needs: list[str] = spec["needs"]
        self.condition = compile_condition(spec["if"]) if spec["if"] is not None else None
        self.given = template(spec["with"])
        self.conversation = template(spec["conversation"])
        self.retry: Mapping[str, Any] | None = spec["retry"]
        self.timeout: float | None = spec["timeout"]
        self.repeatable: bool | None = spec["repeatable"]  # None: as the agent's version says
        self.approval: Mapping[str, Any] | None = spec["approval"]
        self.title = template(spec["approval"] and spec["approval"]["title"])
        self.show = template(spec["approval"] and spec["approval"]["show"])
        self.deliverable = template(spec["deliverable"])
        self.typing = Typing(spec["output_schema"])


class Plan:
    def __init__(self, version: DefinitionVersion) -> None:
        plan = version.plan
        self.slug: str = plan["name"]
        self.digest = version.digest
        self.input_schema = plan["input"]
        self.typing = Typing(self.input_schema)
        self.steps = {step["key"]: StepPlan(step) for step in plan["steps"]}
        self.position_of = {step.name: position for position, step in self.steps.items()}
        self.output = template(plan["output"])
        self._input_check = validator(self.input_schema)

    def input_errors(self, given: Any) -> list[dict[str, str]]:
        return schema_errors(self._input_check, given, "/input")

    def gates_before(self, step: StepPlan) -> list[int]:
        """Positions of the checkpoints that this step needs directly."""
        return [self.position_of[name] for name in step.needs if self.steps[self.position_of[name]].kind == "approval"]


class AgentFacts:
    """A pinned agent version, ready to be called."""

    def __init__(self, version: AgentVersion) -> None:
        self.slug = version.agent.slug
        self.kind = version.agent.kind
        self.digest = version.digest
        self.repeatable = version.repeatable
        self.configuration = version.configuration
        self.runner: Runner = runner_for(version.agent.kind)
        self._input = validator(version.input_schema)
        self._output = version.output_schema, validator(version.output_schema)
        self._operations = {
            name: (operation.get("output"), validator(operation.get("output")))
            for name, operation in version.operations.items()
        }

    def input_errors(self, given: Any) -> list[dict[str, str]]:
        return schema_errors(self._input, given, "/with")

    def output_errors(self, given: Any, output: Any) -> list[dict[str, str]]:
        return schema_errors(self._schema(given)[1], output, "/output")

    def output_schema(self, given: Any) -> Mapping[str, Any] | None:
        """The operation's own schema, where the input names an operation that has one."""
        schema: Mapping[str, Any] | None = self._schema(given)[0]
        return schema

    def _schema(self, given: Any) -> tuple[Any, Validator | None]:
        if self._operations and isinstance(given, dict):
            named: tuple[Any, Validator | None] = self._operations.get(given.get("operation", ""), (None, None))
            if named[1] is not None:
                return named
        return self._output


@lru_cache(maxsize=512)
def plan_of(version: int) -> Plan:
    return Plan(DefinitionVersion.objects.get(pk=version))


@lru_cache(maxsize=512)
def agent_of(version: int) -> AgentFacts:
    return AgentFacts(AgentVersion.objects.select_related("agent").get(pk=version))


def template(content: Any) -> Template | None:
    return None if content is None else compile_template(content)


def validator(schema: Any) -> Validator | None:
    return None if schema is None else Draft202012Validator(schema)


def schema_errors(check: Validator | None, content: Any, root: str) -> list[dict[str, str]]:
    """[{pointer, message}], at most 20; JSON Pointers below `root`."""
    if check is None or check.is_valid(content):
        return []
    found = sorted(check.iter_errors(content), key=lambda error: [str(part) for part in error.absolute_path])[:20]
    return [{"pointer": pointer(root, error.absolute_path), "message": error.message[:500]} for error in found]


def pointer(root: str, path: Any) -> str:
    return root + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
