"""`retry`: how often a step is tried, and when again, by the class of the error."""

from typing import Any

from ..draft import Draft
from ..durations import seconds_in
from ..nodes import Where

ONCE = {"attempts": 1, "backoff": 1.0, "factor": 2.0, "max": 60.0, "jitter": 0.1}
CALLED = ("temporary", "timeout", "permanent")  # what an agent's call may end with
OF_CHILDREN = ("child_failed", "child_rejected", "child_canceled")


def check(draft: Draft, name: str) -> None:
    check_at(draft, ["steps", name, "retry"], draft.steps[name]["retry"], classes_of(draft, name), name)


def check_at(draft: Draft, at: Where, retry: Any, classes: tuple[str, ...], name: str) -> None:
    """`classes` of error are those that what is tried can end with."""
    rules = retry.get("on") if isinstance(retry, dict) else None
    _check_pauses(draft, [*at, "max"], retry)
    for error, rule in rules.items() if isinstance(rules, dict) else ():
        if isinstance(rule, dict):
            _check_pauses(draft, [*at, "on", error, "max"], {**retry, **rule})
        if error in (*CALLED, *OF_CHILDREN) and error not in classes:
            message = f"{name} cannot end with {error}."
            draft.find_key([*at, "on", error], "retry", message, f"It ends with {', '.join(classes)}.")


def classes_of(draft: Draft, name: str) -> tuple[str, ...]:
    """The classes of error after which a step of this kind may be tried again."""
    step = draft.steps[name]
    facts = draft.agents.get(step.get("agent", ""))
    if "run" in step:
        return OF_CHILDREN
    return (*CALLED, *OF_CHILDREN) if facts and facts.kind == "orchestrator" else CALLED


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {"retry": plan_of(draft.steps[name]["retry"])}


def plan_of(said: dict[str, Any]) -> dict[str, Any]:
    retry = _tries(said)
    if "total" in said:
        retry["total"] = seconds_in(said, "total")
    if "on" in said:
        retry["on"] = {error: _tries({**said, **rule}) for error, rule in said["on"].items()}
    return retry


def _tries(said: dict[str, Any]) -> dict[str, Any]:
    backoff, longest = seconds_in(said, "backoff"), seconds_in(said, "max")
    backoff = ONCE["backoff"] if backoff is None else backoff
    tries = {
        "attempts": int(said["attempts"]),
        "backoff": backoff,
        "factor": float(said.get("factor", ONCE["factor"])),
        "max": max(ONCE["max"], backoff) if longest is None else longest,
        "jitter": float(said.get("jitter", ONCE["jitter"])),
    }
    return tries | ({"add": seconds_in(said, "add")} if "add" in said else {})


def _check_pauses(draft: Draft, at: Where, retry: Any) -> None:
    backoff, longest = seconds_in(retry, "backoff"), seconds_in(retry, "max")
    if backoff is not None and longest is not None and longest < backoff:
        draft.find(at, "retry", "max is shorter than backoff.", "Make max at least as long.")
