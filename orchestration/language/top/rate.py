"""`rate`: how many runs begin within a time."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in
from .concurrency import RULE, check_key


def check(draft: Draft) -> None:
    check_key(draft, "rate")
    if seconds_in(draft.root.value["rate"], "per") == 0:
        draft.find(["rate", "per"], RULE, "No run begins within no time.", "Write a time, such as 1m.")


def plan(draft: Draft) -> dict[str, Any]:
    said = draft.root.value["rate"]
    return {"rate": {"key": said.get("key"), "max": said["max"], "per": seconds_in(said, "per")}}
