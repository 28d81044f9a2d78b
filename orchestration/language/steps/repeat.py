"""`repeat`: the step again and again, until a condition on its output is true."""

from typing import Any

from django.conf import settings

from ..draft import Draft
from ..durations import seconds_in
from ..findings import at_most
from ..nodes import Where
from . import condition


def check(draft: Draft, name: str) -> None:
    """After the step's kind, whose output the condition reads."""
    said = draft.steps[name]["repeat"]
    if not isinstance(said, dict):
        return
    at: Where = ["steps", name, "repeat"]
    condition.check_condition(draft, [*at, "until"], said.get("until"), name, "called")
    most = said.get("max")
    if isinstance(most, int) and most > settings.REPEAT_MOST_PASSES:
        draft.find([*at, "max"], "repeat", f"These are {most:,} passes.", at_most("REPEAT_MOST_PASSES"))


def plan(draft: Draft, name: str) -> dict[str, Any]:
    said = draft.steps[name]["repeat"]
    until = condition.expression_of(said["until"]).source
    return {"repeat": {"until": until, "every": seconds_in(said, "every") or 0.0, "max": said["max"]}}


def reads(said: dict[str, Any]) -> frozenset[str]:
    return condition.reads(said["until"])
