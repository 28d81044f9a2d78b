"""`timeout`: how long one try may take; and the whole step, the wait for a worker, and silence."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in

BESIDE = ("step", "queue", "silence")  # that of one try


def check(draft: Draft, name: str) -> None:
    step = draft.steps[name]
    timeout = step["timeout"]
    attempt, whole = seconds_in(timeout, "attempt"), seconds_in(timeout, "step")
    if attempt is not None and whole is not None and attempt > whole:
        at = ["steps", name, "timeout", "attempt"]
        draft.find(at, "timeout", "One try may take longer than the whole step.", "Make step at least as long.")
    if isinstance(timeout, dict) and "silence" in timeout and "agent" not in step:
        at = ["steps", name, "timeout", "silence"]
        draft.find_key(at, "timeout", "Only an agent's call says something.", "Take silence out.")


def plan(draft: Draft, name: str) -> dict[str, Any]:
    step = draft.steps[name]
    said = step["timeout"]
    if isinstance(said, str):
        return {"timeout": seconds_in(step, "timeout")}
    beside = {key: seconds_in(said, key) for key in BESIDE if key in said}
    return {"timeout": seconds_in(said, "attempt")} | ({"timeouts": beside} if beside else {})
