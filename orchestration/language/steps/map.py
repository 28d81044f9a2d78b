"""`map`: the step once for each item of a list."""

from typing import Any

from .. import schemas
from ..draft import EVERYWHERE, Draft
from ..expressions import FUNCTIONS, WORDS
from ..nodes import Where
from ..references import check_template

ITEM = "item"
TAKEN = EVERYWHERE | WORDS | {"event", "message", "schedule"} | {name for name in FUNCTIONS if "." not in name}


def check(draft: Draft, name: str) -> None:
    """Before the step's kind, whose expressions read the item."""
    said = draft.steps[name]["map"]
    if not isinstance(said, dict):
        return
    at: Where = ["steps", name, "map"]
    check_template(draft, [*at, "over"], said.get("over"), name, draft.roots_of(name, "once"))
    variable = said.get("as", ITEM)
    if variable in TAKEN:
        message = f"Expressions know {variable} as something else."
        draft.find([*at, "as"] if "as" in said else at, "map-as", message, "Choose another name.")
    elif isinstance(variable, str):
        draft.variables[name] = {variable: _item_schema(draft, name, said)}
    types = schemas.types_of(_list_schema(draft, name, said))
    if types is not None and "array" not in types:
        draft.find([*at, "over"], "map", f"This is {schemas.named(types)}, not a list.", "Name a list.")


def widen(draft: Draft, name: str) -> None:
    """What is known of one item's output becomes what is known of the step's. After all that reads the item's."""
    draft.item_schemas[name] = one = draft.output_schemas.get(name)
    items = {} if one is None or schemas.has_reference(one) else one
    said = draft.steps[name]["map"]
    if items and isinstance(said, dict) and said.get("tolerate", 0) not in (0, "0%"):
        items = {"anyOf": [items, {"type": "null"}]}
    draft.output_schemas[name] = {"type": "array", "items": items}


def plan(draft: Draft, name: str) -> dict[str, Any]:
    said = draft.steps[name]["map"]
    variable = said.get("as", ITEM)
    tolerate = said.get("tolerate", 0)
    return {
        "map": {
            "over": said["over"],
            "as": variable,
            "schema": draft.variables[name][variable],
            "output_schema": draft.schema_of_one(name),
            "concurrency": said.get("concurrency"),
            "batch": said.get("batch"),
            "tolerate": {"share": int(tolerate[:-1]) / 100} if isinstance(tolerate, str) else {"count": tolerate},
        }
    }


def _list_schema(draft: Draft, name: str, said: dict[str, Any]) -> Any:
    over = said.get("over")
    return draft.schema_of_template(over, name) if isinstance(over, str) else None


def _item_schema(draft: Draft, name: str, said: dict[str, Any]) -> Any:
    schema = _list_schema(draft, name, said)
    of_list = schemas.follow(schema, (0,)) if schema is not None else None
    item = None if isinstance(of_list, schemas.Unknown) or schemas.has_reference(of_list) else of_list
    return {"type": "array", "items": item or {}} if "batch" in said else item
