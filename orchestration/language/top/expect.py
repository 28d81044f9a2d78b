"""`expect`: a promise of when a run will have ended."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in


def check(draft: Draft) -> None:
    said = draft.root.value
    promised, longest = seconds_in(said["expect"], "within"), seconds_in(said, "timeout")
    if promised is not None and longest is not None and promised >= longest:
        message = "A run is stopped by its timeout before it could be late."
        draft.find(["expect", "within"], "timeout", message, "Promise less than timeout.")


def plan(draft: Draft) -> dict[str, Any]:
    return {"expect": {"within": seconds_in(draft.root.value["expect"], "within")}}
