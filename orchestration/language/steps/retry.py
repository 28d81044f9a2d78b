"""`retry`: how often an agent is asked again, and when."""

from collections.abc import Mapping
from typing import Any

from ..draft import Draft
from ..durations import seconds_in

ONCE = {"attempts": 1, "backoff": 1.0, "factor": 2.0, "max": 60.0, "jitter": 0.1}


def check(draft: Draft, name: str) -> None:
    retry = draft.steps[name].get("retry")
    backoff, longest = seconds_in(retry, "backoff"), seconds_in(retry, "max")
    if backoff is not None and longest is not None and longest < backoff:
        at = ["steps", name, "retry", "max"]
        draft.find(at, "retry", "max is shorter than backoff.", "Make max at least as long.")


def plan(retry: Mapping[str, Any] | None) -> dict[str, Any]:
    if retry is None:
        return dict(ONCE)
    backoff, longest = seconds_in(retry, "backoff"), seconds_in(retry, "max")
    backoff = ONCE["backoff"] if backoff is None else backoff
    return {
        "attempts": int(retry["attempts"]),
        "backoff": backoff,
        "factor": float(retry.get("factor", ONCE["factor"])),
        "max": max(ONCE["max"], backoff) if longest is None else longest,
        "jitter": float(retry.get("jitter", ONCE["jitter"])),
    }
