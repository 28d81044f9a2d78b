"""`output_schema`: the JSON Schema to which a run's output is held."""

from functools import partial
from typing import Any

from ui.schema_words import words_of_error

from .. import schemas
from ..draft import Draft
from ..expressions import ExpressionError
from ..literals import literal_errors, with_holes

RULE = "output-schema"


def check(draft: Draft) -> None:
    schema = draft.root.value["output_schema"]
    wrong = schemas.check(schema) if isinstance(schema, dict) else []
    for path, message in wrong:
        what = f"The output's JSON Schema: {message}."
        draft.find(["output_schema", *path], RULE, what, "Write JSON Schema 2020-12.")
    if "output" not in draft.root.value:
        draft.find_key(["output_schema"], RULE, "There is no output that it could be of.", "Add output:.")
    elif not wrong:
        _check_output(draft, schema)


def plan(draft: Draft) -> dict[str, Any]:
    return {"output_schema": draft.root.value["output_schema"]}


def _check_output(draft: Draft, schema: Any) -> None:
    """What is written in `output`, its templates counted as whatever they can be."""
    try:
        filled = with_holes(draft.root.value["output"], partial(draft.schema_of, step=""))
    except ExpressionError:
        return
    error: Any  # the stubs know its members as perhaps unset
    for error in literal_errors(schema, filled):
        message = f"The output is not what output_schema says: {words_of_error(error)}"
        draft.find(["output", *error.absolute_path], RULE, message, "Change one of the two.")
