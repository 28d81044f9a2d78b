"""What definition and agent versions say, compiled once in a process: both never change.

Many walkers ask for the same one at the same time. The first compiles it and the others wait for it.
"""

from collections.abc import Mapping
from threading import Condition
from typing import Any

from cachetools import LRUCache, cached

from agents.models import AgentVersion
from agents.runners import Runner, runner_for
from orchestration.engine.at_start import AtStart
from orchestration.engine.checks import Check
from orchestration.engine.connection import returned_connection
from orchestration.engine.outcomes import UNDO
from orchestration.language.derived import Derived
from orchestration.language.expressions import Template, Typing, compile_condition, compile_template
from orchestration.models import DefinitionVersion

# What the undo of a step says nothing of.
UNSAID = dict.fromkeys(("if", "conversation", "repeatable", "approval", "deliverable", "output_schema"))
KINDS_OF_LIMITS = (("steps", "concurrency"), ("rate", "rate"))  # as rows are called, and as definitions do


class StepPlan:
    """One step of a plan. Templates are None where the definition says nothing."""

    def __init__(self, spec: Mapping[str, Any], position_of: Mapping[str, int]) -> None:
        self.name: str = spec["name"]
        self.kind: str = spec["kind"]
        self.needs: list[str] = spec["needs"]
        self.condition = compile_condition(spec["if"]) if spec["if"] is not None else None
        self.given = template(spec["with"])
        self.conversation = template(spec["conversation"])
        self.retry: Mapping[str, Any] | None = spec["retry"]
        self.timeout: float | None = spec["timeout"]
        self.timeouts: Mapping[str, float] = spec.get("timeouts", {})
        self.handles: list[str] = spec.get("handles", [])
        self.on_failure_by: Mapping[str, str] = spec.get("on_failure_by", {})
        self.repeatable: bool | None = spec["repeatable"]  # None: as the agent's version says
        self.approval: Mapping[str, Any] | None = spec["approval"]
        self.title = template(spec["approval"] and spec["approval"]["title"])
        self.show = template(spec["approval"] and spec["approval"]["show"])
        self.derived = _derived(spec["approval"] or {})
        self.run: Mapping[str, Any] | None = spec.get("run")
        self.deliverable = template(spec["deliverable"])
        self.typing = Typing(spec["output_schema"])
        self.cache: Mapping[str, Any] = spec.get("cache", {})
        self.cache_key = template(self.cache.get("key"))
        self.wait = Wait(spec.get("wait", {}))
        self.map: Mapping[str, Any] = spec.get("map", {})
        self.over = compile_template(self.map.get("over"))
        self.item_typing = Typing(self.map.get("schema"))
        self.repeat: Mapping[str, Any] = spec.get("repeat", {})
        self.limits = [Limit(kind, one) for kind, key in KINDS_OF_LIMITS for one in spec.get(key, ())]
        self.until = compile_condition(self.repeat["until"]) if self.repeat else None
        # Of the output of one item, or of a pass.
        self.one_typing = Typing(self.map["output_schema"]) if self.map else self.typing
        self.item_kind = "repeat" if self.repeat else self.kind
        self.item_reads = [position_of[name] for name in spec.get("item_reads", ())]
        self.branches = [(compile_condition(branch["if"]), branch["then"]) for branch in spec.get("choose", ())]
        self.chosen_by = [position_of[name] for name in spec.get("chosen_by", ())]
        self.agent: str | None = spec["agent"]
        self.undo: StepPlan | None = None
        if "compensate" in spec:  # as if it were a step; its `given` is evaluated when this one has ended
            undo = {"name": self.name, "kind": UNDO, "needs": [], **UNSAID, **spec["compensate"]}
            self.undo = StepPlan(undo, position_of)


class Limit:
    """One that a step is held to, with the key under which it is shared."""

    def __init__(self, kind: str, spec: Mapping[str, Any]) -> None:
        self.kind = kind
        self.key = compile_template(spec["key"])
        self.most: int = spec["max"]
        self.per: float | None = spec.get("per")
        self.units = compile_template(spec.get("units", 1))


class Wait:
    """What ends a wait, whichever comes first; among it the run of `child`, which is given `child_input`."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.conditions = compile_template(spec.get("first_of", []))
        self.timeout: float | None = spec.get("timeout")
        self.child: Mapping[str, Any] | None = spec.get("child")
        self.child_input = template(self.child and self.child["with"])


class Message:
    """What a run takes, on which condition, and what its sender is told."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.schema = spec["schema"]
        self.check = Check(self.schema)
        self.typing = Typing(self.schema)
        self.condition = None if spec["if"] is None else compile_condition(spec["if"])
        self.reply = template(spec["reply"])
        self.reads: list[str] = spec["reads"]


class Plan:
    def __init__(self, version: DefinitionVersion) -> None:
        plan = version.plan
        self.slug: str = plan["name"]
        self.digest = version.digest
        self.level: int = plan.get("level", 0)
        self.timeout: float | None = plan.get("timeout")
        self.expects: float | None = plan.get("expect", {}).get("within")
        self.budget: Mapping[str, Any] | None = plan.get("budget")
        self.visible_to: list[str] | None = plan.get("visible_to")
        self.input_schema = plan["input"]
        self.typing = Typing(self.input_schema)
        self.position_of: dict[str, int] = {step["name"]: step["key"] for step in plan["steps"]}
        self.steps = {step["key"]: StepPlan(step, self.position_of) for step in plan["steps"]}
        self.output = template(plan["output"])
        self.at_start = AtStart(plan, self.typing)
        self.messages = {name: Message(spec) for name, spec in plan.get("messages", {}).items()}
        self._input_check = Check(self.input_schema)
        self._output_check = Check(plan.get("output_schema"))

    def input_errors(self, given: Any) -> list[dict[str, str]]:
        return self._input_check.errors(given, "/input")

    def output_errors(self, output: Any) -> list[dict[str, str]]:
        return self._output_check.errors(output, "/output")

    def step_of(self, position: int, kind: str) -> StepPlan:
        """What stands in the plan for a row: for one that undoes, what its step says of that."""
        step = self.steps[position]
        return step.undo if kind == UNDO and step.undo is not None else step

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
        self._input = Check(version.input_schema)
        self._output = Check(version.output_schema)
        self._operations = {
            name: Check(operation["output"])
            for name, operation in version.operations.items()
            if operation.get("output") is not None
        }

    def input_errors(self, given: Any) -> list[dict[str, str]]:
        return self._input.errors(given, "/with")

    def output_errors(self, given: Any, output: Any) -> list[dict[str, str]]:
        return self._output_check(given).errors(output, "/output")

    def output_schema(self, given: Any) -> Mapping[str, Any] | None:
        """The operation's own schema, where the input names an operation that has one."""
        schema: Mapping[str, Any] | None = self._output_check(given).schema
        return schema

    def _output_check(self, given: Any) -> Check:
        if self._operations and isinstance(given, dict):
            return self._operations.get(given.get("operation", ""), self._output)
        return self._output


@cached(LRUCache(512), condition=Condition())
def plan_of(version: int) -> Plan:
    with returned_connection():
        return Plan(DefinitionVersion.objects.get(pk=version))


@cached(LRUCache(512), condition=Condition())
def agent_of(version: int) -> AgentFacts:
    with returned_connection():
        return AgentFacts(AgentVersion.objects.select_related("agent").get(pk=version))


def _derived(approval: Mapping[str, Any]) -> Derived | None:
    return Derived(approval["derived"], approval["payload_schema"]) if "derived" in approval else None


def template(content: Any) -> Template | None:
    return None if content is None else compile_template(content)
