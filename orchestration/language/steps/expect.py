"""`expect`: a promise of when the step will have ended."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"expect": {"within": seconds_in(draft.steps[name]["expect"], "within")}}
