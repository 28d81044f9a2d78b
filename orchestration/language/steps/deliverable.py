"""`deliverable`: what people read of a step's output."""

from collections.abc import Mapping
from typing import Any

from ..draft import Draft
from ..references import AFTER, check_template


def check(draft: Draft, name: str) -> None:
    deliverable = draft.steps[name].get("deliverable")
    if isinstance(deliverable, dict):
        for key in ("title", "content"):
            check_template(draft, ["steps", name, "deliverable", key], deliverable.get(key), name, AFTER)


def plan(deliverable: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if deliverable is None:
        return None
    name = deliverable["name"]
    return {"name": name, "title": deliverable.get("title", name), "content": deliverable["content"]}
