"""`with`: what an agent or another definition is given, against the schema of what it takes."""

from collections.abc import Mapping
from typing import Any

from ui.schema_words import words_of_error

from ..draft import Draft
from ..expressions import ExpressionError
from ..findings import did_you_mean
from ..literals import literal_errors, with_holes
from ..nodes import Where
from ..references import check_template


def check(draft: Draft, name: str) -> None:
    check_template(draft, ["steps", name, "with"], draft.steps[name]["with"], name, draft.roots_of(name, "calling"))


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"with": draft.steps[name]["with"]}


def check_against(draft: Draft, name: str, at: Where, value: Any, schema: Any, who: str) -> None:
    """Its templates count as whatever they can be. It stands at `at`; `who` takes it, such as "agent"."""
    if not isinstance(schema, dict) or not isinstance(value, dict):
        return
    try:
        filled = with_holes(value, draft.schemas_at(name))
    except ExpressionError:
        return
    error: Any  # the stubs know its members as perhaps unset
    for error in literal_errors(schema, filled):
        path: Where = [*at, *error.absolute_path]
        if error.validator == "additionalProperties" and isinstance(error.schema, Mapping):
            known = error.schema.get("properties", {})
            for key in [key for key in error.instance if key not in known]:
                draft.find_key([*path, key], "with", f"The {who} takes no {key}.", did_you_mean(key, known))
        else:
            message = f"The {who} does not take this: {words_of_error(error)}"
            draft.find(path, "with", message, f"See the {who}'s input schema.")
