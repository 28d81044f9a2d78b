"""`run`: a step that starts a run of a saved definition."""

from typing import Any

from .. import circles
from ..draft import DefinitionFacts, Draft
from ..findings import did_you_mean
from ..nodes import Where
from . import given


def check(draft: Draft, name: str) -> None:
    step, at = draft.steps[name], ["steps", name, "run"]
    said = circles.long_form(step["run"])
    wanted, version = said.get("definition"), said.get("version")
    place: Where = [*at, "definition"] if isinstance(step["run"], dict) else at
    if not isinstance(wanted, str):
        return
    circle = circles.circle_through(draft, name)
    if circle is not None:
        message = f"{' runs '.join(circle)}, again and again." if len(circle) > 2 else f"{wanted} runs itself."
        draft.find(place, "self-run", message, "Let it depend on an if:, a choose: or people whether it runs.")
    facts = draft.definitions.get(wanted)
    if wanted == draft.root.value.get("name"):
        facts = DefinitionFacts(draft.input_schema, number=facts.number if facts else 0)
    if facts is None:
        fix = did_you_mean(wanted, draft.definitions)
        draft.find(place, "unknown-definition", f"There is no definition {wanted}.", fix)
    elif version is None:
        given.check_against(
            draft, name, ["steps", name, "with"], step.get("with", {}), facts.input_schema, "definition"
        )
        draft.output_schemas[name] = facts.output_schema
    elif isinstance(version, int) and version > facts.number:
        message = f"{wanted} has no version {version}."
        draft.find([*at, "version"], "unknown-definition", message, f"Its newest is {facts.number}.")


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"run": circles.long_form(draft.steps[name]["run"])}
