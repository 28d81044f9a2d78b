"""`deliverable`: what people read of a step's output."""

from typing import Any

from ..draft import Draft
from ..references import check_template


def check(draft: Draft, name: str) -> None:
    deliverable = draft.steps[name]["deliverable"]
    if isinstance(deliverable, dict):
        roots = draft.roots_of(name, "ended")
        for key in ("title", "content"):
            check_template(draft, ["steps", name, "deliverable", key], deliverable.get(key), name, roots)


def plan(draft: Draft, name: str) -> dict[str, Any]:
    said = draft.steps[name]["deliverable"]
    deliverable = {"name": said["name"], "title": said.get("title", said["name"]), "content": said["content"]}
    return {"deliverable": deliverable}
