"""`timeout`: how long a run may take in all."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in


def plan(draft: Draft) -> dict[str, Any]:
    return {"timeout": seconds_in(draft.root.value, "timeout")}
