"""`retry`: how often an agent is asked again, and when."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in

ONCE = {"attempts": 1, "backoff": 1.0, "factor": 2.0, "max": 60.0, "jitter": 0.1}


def check(draft: Draft, name: str) -> None:
    retry = draft.steps[name]["retry"]
    backoff, longest = seconds_in(retry, "backoff"), seconds_in(retry, "max")
    if backoff is not None and longest is not None and longest < backoff:
        at = ["steps", name, "retry", "max"]
        draft.find(at, "retry", "max is shorter than backoff.", "Make max at least as long.")


def plan(draft: Draft, name: str) -> dict[str, Any]:
    said = draft.steps[name]["retry"]
    backoff, longest = seconds_in(said, "backoff"), seconds_in(said, "max")
    backoff = ONCE["backoff"] if backoff is None else backoff
    retry = {
        "attempts": int(said["attempts"]),
        "backoff": backoff,
        "factor": float(said.get("factor", ONCE["factor"])),
        "max": max(ONCE["max"], backoff) if longest is None else longest,
        "jitter": float(said.get("jitter", ONCE["jitter"])),
    }
    return {"retry": retry}
