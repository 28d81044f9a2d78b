"""What others may rely on of a definition: read from its plan, be it saved or just made."""

from collections.abc import Mapping
from typing import Any

from . import schemas
from .circles import always_run
from .draft import DefinitionFacts


def facts_of(plan: Mapping[str, Any], number: int) -> DefinitionFacts:
    """`number`: of the newest version there is."""
    steps = {step["name"]: step for step in plan["steps"]}
    runs = always_run(steps, {name: step["needs"] for name, step in steps.items()})
    return DefinitionFacts(plan["input"], _output_schema(plan, steps), number, frozenset(runs.values()))


def _output_schema(plan: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]) -> Any:
    if "output_schema" in plan:
        return plan["output_schema"]

    def of_path(path: tuple[str | int, ...]) -> Any:
        if path[0] == "input":
            schema, rest = plan["input"], path[1:]
        elif len(path) > 2 and (path[0], path[2]) == ("steps", "output") and path[1] in steps:
            schema, rest = steps[str(path[1])]["output_schema"], path[3:]
        else:
            return None
        found = schemas.follow(schema, rest) if schema is not None else None
        return None if isinstance(found, schemas.Unknown) or schemas.has_reference(found) else found

    return schemas.of_template(plan["output"], of_path)
