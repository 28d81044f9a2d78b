"""`fair_by`: which runs share their turns."""

from typing import Any

from ..draft import Draft
from .starting import check_value


def check(draft: Draft) -> None:
    check_value(draft, ["fair_by"], draft.root.value["fair_by"], "fair-by")


def plan(draft: Draft) -> dict[str, Any]:
    return {"fair_by": draft.root.value["fair_by"]}
