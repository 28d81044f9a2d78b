"""`run`: a step that starts a run of a saved definition."""

from typing import Any

from .. import circles
from ..draft import DefinitionFacts, Draft
from ..findings import did_you_mean
from ..nodes import Where
from . import given


def check(draft: Draft, name: str) -> None:
    step, at = draft.steps[name], ["steps", name, "run"]
    wanted = circles.long_form(step["run"]).get("definition")
    circle = circles.circle_through(draft, name)
    if circle is not None and isinstance(wanted, str):
        message = f"{' runs '.join(circle)}, again and again." if len(circle) > 2 else f"{wanted} runs itself."
        fix = "Let it depend on an if:, a choose: or people whether it runs."
        draft.find(_place(at, step["run"]), "self-run", message, fix)
    facts = check_definition(draft, name, at, step["run"], ["steps", name, "with"], step.get("with", {}))
    if facts is not None:
        draft.output_schemas[name] = facts.output_schema


def check_definition(
    draft: Draft, name: str, at: Where, run: Any, given_at: Where, value: Any
) -> DefinitionFacts | None:
    """Whether there is what `run`, which stands at `at`, names, and whether it takes `value`. Gives what is known of
    its newest version, if that is the one meant."""
    said = circles.long_form(run)
    wanted, version = said.get("definition"), said.get("version")
    if not isinstance(wanted, str):
        return None
    facts = draft.definitions.get(wanted)
    if wanted == draft.root.value.get("name"):
        facts = DefinitionFacts(draft.input_schema, number=facts.number if facts else 0)
    if facts is None:
        fix = did_you_mean(wanted, draft.definitions)
        draft.find(_place(at, run), "unknown-definition", f"There is no definition {wanted}.", fix)
    elif version is None:
        given.check_against(draft, name, given_at, value, facts.input_schema, "definition")
        return facts
    elif isinstance(version, int) and version > facts.number:
        message = f"{wanted} has no version {version}."
        draft.find([*at, "version"], "unknown-definition", message, f"Its newest is {facts.number}.")
    return None


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"run": circles.long_form(draft.steps[name]["run"])}


def _place(at: Where, run: Any) -> Where:
    return [*at, "definition"] if isinstance(run, dict) else at
