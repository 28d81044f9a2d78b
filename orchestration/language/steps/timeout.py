"""`timeout`: how long one try may take."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"timeout": seconds_in(draft.steps[name], "timeout")}
