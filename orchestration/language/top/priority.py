"""`priority`: which runs come first."""

from typing import Any

from ..draft import Draft
from .starting import NUMBER, check_value


def check(draft: Draft) -> None:
    check_value(draft, ["priority"], draft.root.value["priority"], "priority", NUMBER)


def plan(draft: Draft) -> dict[str, Any]:
    return {"priority": draft.root.value["priority"]}
