"""`conversation`: what a context agent is told, message by message."""

from typing import Any

from ..draft import Draft
from ..nodes import Where
from ..references import check_template


def check(draft: Draft, name: str) -> None:
    conversation = draft.steps[name]["conversation"]
    for index, message in enumerate(conversation if isinstance(conversation, list) else ()):
        if isinstance(message, dict):
            at: Where = ["steps", name, "conversation", index, "content"]
            check_template(draft, at, message.get("content"), name, draft.roots_of(name, "calling"))


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"conversation": draft.steps[name]["conversation"]}
