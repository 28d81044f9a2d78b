"""`fair_by`: which runs share their turns, and how often these come."""

from typing import Any

from ..draft import Draft
from .starting import NUMBER, check_value

RULE = "fair-by"


def check(draft: Draft) -> None:
    said = draft.root.value["fair_by"]
    if not isinstance(said, dict):
        check_value(draft, ["fair_by"], said, RULE)
        return
    if "key" in said:
        check_value(draft, ["fair_by", "key"], said["key"], RULE)
    if "weight" in said:
        check_value(draft, ["fair_by", "weight"], said["weight"], RULE, NUMBER)


def plan(draft: Draft) -> dict[str, Any]:
    said = draft.root.value["fair_by"]
    if not isinstance(said, dict):
        return {"fair_by": said}
    weight = said.get("weight", 1)
    return {"fair_by": said["key"]} | ({} if weight == 1 else {"fair_weight": weight})
