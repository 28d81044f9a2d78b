"""`concurrency`: how many runs go on at once, and what becomes of one more."""

from typing import Any

from ..draft import Draft
from .starting import check_value

RULE = "limit"


def check(draft: Draft) -> None:
    check_key(draft, "concurrency")


def check_key(draft: Draft, name: str) -> None:
    said = draft.root.value[name]
    if isinstance(said, dict) and "key" in said:
        check_value(draft, [name, "key"], said["key"], RULE)


def plan(draft: Draft) -> dict[str, Any]:
    said = draft.root.value["concurrency"]
    return {"concurrency": {"key": said.get("key"), "max": said["max"], "when_full": said.get("when_full", "queue")}}
