"""The compiled form: all that the engine knows of a definition. Only of a draft without errors."""

from typing import Any

from .draft import Draft
from .durations import seconds_in
from .expressions import bare, compile_expression
from .references import steps_read
from .steps import approval, deliverable, retry


def plan_of(draft: Draft) -> dict[str, Any]:
    value = draft.root.value
    output = value.get("output")
    return {
        "name": value["name"],
        "description": value.get("description", ""),
        "input": value.get("input"),
        "output": output,
        "output_reads": sorted(steps_read(output)),
        "steps": [plan_of_step(draft, key, name) for key, name in enumerate(draft.steps, start=1)],
    }


def plan_of_step(draft: Draft, key: int, name: str) -> dict[str, Any]:
    step = draft.steps[name]
    condition = step.get("if")
    condition = str(condition).lower() if isinstance(condition, bool) else condition
    expression = None if condition is None else compile_expression(bare(condition))
    reads = steps_read([step.get("with"), step.get("conversation"), step.get("approval"), step.get("deliverable")])
    return {
        "key": key,
        "name": name,
        "kind": "approval" if "approval" in step else "agent",
        "agent": step.get("agent"),
        "needs": draft.needs[name],
        "reads": sorted(reads | (expression.names.steps if expression else frozenset())),
        "reads_status": bool(expression and expression.names.statuses & set(draft.needs[name])),
        "if": None if expression is None else expression.source,
        "with": step.get("with"),
        "conversation": step.get("conversation"),
        "retry": retry.plan(step.get("retry")),
        "timeout": seconds_in(step, "timeout"),
        "repeatable": step.get("repeatable"),
        "approval": approval.plan(draft, name),
        "deliverable": deliverable.plan(step.get("deliverable")),
        "output_schema": draft.output_schemas.get(name),
    }
