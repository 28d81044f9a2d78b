"""`labels`: what runs are found by."""

from typing import Any

from ..draft import Draft
from .starting import check_value


def check(draft: Draft) -> None:
    labels = draft.root.value["labels"]
    for name, value in labels.items() if isinstance(labels, dict) else ():
        check_value(draft, ["labels", name], value, "labels")


def plan(draft: Draft) -> dict[str, Any]:
    return {"labels": draft.root.value["labels"]}
