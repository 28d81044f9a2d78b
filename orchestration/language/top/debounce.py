"""`debounce`: starts that follow each other closely come together in one run."""

from typing import Any

from .. import schemas
from ..draft import Draft
from ..durations import seconds_in
from .starting import check_value

RULE = "debounce"


def check(draft: Draft) -> None:
    said = draft.root.value["debounce"]
    if not isinstance(said, dict):
        return
    if "key" in said:
        check_value(draft, ["debounce", "key"], said["key"], RULE)
    pause, longest = seconds_in(said, "for"), seconds_in(said, "at_most")
    if pause is not None and longest is not None and longest < pause:
        draft.find(["debounce", "at_most"], RULE, "It is shorter than for.", "Make it at least as long.")
    schema: Any = draft.input_schema or {}
    is_list = schemas.types_of(draft.schema_of(("input", "items"), "")) == frozenset({"array"})
    if "gather" in said and not (is_list and "items" in schema.get("required", ())):
        message = "Only lists can be gathered, and input does not say that there are items, a list."
        fix = "Write input: {type: object, required: [items], properties: {items: {type: array}}}."
        draft.find_key(["debounce", "gather"], RULE, message, fix)


def plan(draft: Draft) -> dict[str, Any]:
    said = draft.root.value["debounce"]
    times = {"for": seconds_in(said, "for"), "at_most": seconds_in(said, "at_most")}
    return {"debounce": {"key": said.get("key"), **times, "gather": said.get("gather")}}
