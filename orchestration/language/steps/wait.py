"""`wait`: for a time, for an event from outside, for a message to the run, or for the first of several, among which may
be a run of a saved definition."""

from collections.abc import Iterator, Mapping
from typing import Any

from .. import circles
from ..draft import Draft
from ..durations import seconds_in
from ..findings import did_you_mean
from ..nodes import Where
from ..references import check_template
from ..times import has_template, time_of
from ..top.messages import schemas_of
from . import run

ENDS = ("for", "until", "event", "message", "any")
AMONG = ("for", "until", "event", "message", "run")  # what `any` has
KEYS = ("for", "until", "event", "key", "message")


def check(draft: Draft, name: str) -> None:
    wait = draft.steps[name]["wait"]
    if not isinstance(wait, dict):
        return
    at: Where = ["steps", name, "wait"]
    conditions = list(_conditions(at, wait))
    _check_one(draft, at, wait, ENDS)
    for place, condition in conditions if "any" in wait else ():
        _check_one(draft, place, condition, AMONG)
    for place, condition in conditions:
        _check_values(draft, place, condition, name)
    if "any" in wait:
        _check_runs(draft, conditions, name)
    if "timeout" in wait and {"for", "until"} & wait.keys():
        message = "A wait for a time ends by itself and has no timeout."
        draft.find_key([*at, "timeout"], "wait", message, "Take timeout out.")
    draft.output_schemas[name] = _output_schema(draft, [condition for _, condition in conditions])


def _output_schema(draft: Draft, conditions: list[Mapping[str, Any]]) -> Any:
    if conditions and all({"for", "until"} & condition.keys() for condition in conditions):
        return {"type": "null"}
    return schemas_of(draft).get(str(conditions[0].get("message"))) if len(conditions) == 1 else None


def plan(draft: Draft, name: str) -> dict[str, Any]:
    wait = draft.steps[name]["wait"]
    conditions = [one for _, one in _conditions([], wait)]
    first_of = [{key: one[key] for key in KEYS if key in one} for one in conditions if "run" not in one]
    plan: dict[str, Any] = {"first_of": first_of, "timeout": seconds_in(wait, "timeout")}
    for one in conditions:
        if "run" in one:
            plan["child"] = {**circles.long_form(one["run"]), "with": one.get("with")}
    return {"wait": plan}


def _conditions(at: Where, wait: Mapping[str, Any]) -> Iterator[tuple[Where, Mapping[str, Any]]]:
    several = wait.get("any")
    if "any" not in wait:
        yield at, wait
    for number, one in enumerate(several if isinstance(several, list) else ()):
        if isinstance(one, dict):
            yield [*at, "any", number], one


def _check_one(draft: Draft, at: Where, condition: Mapping[str, Any], ends: tuple[str, ...]) -> None:
    said = [key for key in (*ENDS, "run") if key in condition]  # one that may not stand here has its own finding
    if len(said) != 1:
        message = f"A wait ends by {' and '.join(said)} at once." if said else "The wait does not say what ends it."
        fix = "Write them as a list below any:." if said else f"Add one of {', '.join(ends)}."
        draft.find(at, "wait", message, fix)
    elif "key" in condition and said != ["event"]:
        draft.find_key([*at, "key"], "wait", "Only an event has a key.", "Take key out.")
    elif "with" in condition and said != ["run"]:
        draft.find_key([*at, "with"], "wait", "Only a run is given something.", "Take with out.")


def _check_runs(draft: Draft, conditions: list[tuple[Where, Mapping[str, Any]]], name: str) -> None:
    """One at most, whose output is then the step's; and it is not alone."""
    runs = [(at, condition) for at, condition in conditions if "run" in condition]
    for at, condition in runs:
        run.check_definition(draft, name, [*at, "run"], condition["run"], [*at, "with"], condition.get("with", {}))
    for at, _ in runs[1:]:
        message = "A wait has at most one run among any."
        draft.find_key([*at, "run"], "wait", message, "Let a step of its own run it, and another need any of them.")
    if len(runs) == len(conditions) == 1 and runs[0][1].keys().isdisjoint(KEYS):
        message = "A wait for nothing but a run is a run's step."
        draft.find_key([*runs[0][0], "run"], "wait", message, "Write run: and with: in place of wait:.")


def _check_values(draft: Draft, at: Where, condition: Mapping[str, Any], name: str) -> None:
    for key in (*KEYS, "with"):
        check_template(draft, [*at, key], condition.get(key), name, draft.roots_of(name, "asking"))
    message, known = condition.get("message"), schemas_of(draft)
    if isinstance(message, str) and message not in known:
        fix = did_you_mean(message, known) if known else "Declare it below messages:."
        draft.find([*at, "message"], "unknown-message", f"The definition takes no message {message}.", fix)
    length, until = condition.get("for"), condition.get("until")
    if isinstance(length, str) and not has_template(length) and seconds_in(condition, "for") is None:
        draft.find([*at, "for"], "duration", f"{length} is no duration.", "Write a number and ms, s, m, h, d or w.")
    if isinstance(until, str) and not has_template(until) and time_of(until) is None:
        message = f"{until} is no time with an offset."
        draft.find([*at, "until"], "time", message, "Write one such as 2026-12-01T09:00:00+01:00.")
