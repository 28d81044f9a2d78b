"""A step that waits, and holds nothing meanwhile: rows say for what, and the sweep ends it.

Without a deliverable no walker has it again: what came is its output. With one, it is ready once more, in phase 1.
One with a run among what it waits for waits for a child, as a step of kind `run` does, and is told of its end as that
is; beside it for the rest. What comes first moves it; for all that comes later it waits no more.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings

from accounts.clock import database_clock
from orchestration.engine.connection import returned_connection
from orchestration.engine.launches import launch
from orchestration.engine.outcomes import Outcome
from orchestration.language.durations import seconds_in
from orchestration.language.expressions import ExpressionError, as_text
from orchestration.language.times import time_of
from orchestration.models import OutsideEvent

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution
    from orchestration.engine.plans import Wait

LONGEST_KEY = 200
HEARD = ("event", "message")


def begin(execution: "Execution") -> Outcome:
    more = execution.claim.more
    if more.get("phase"):
        return execution.finish(Outcome("completed", output=output_of(more.get("event"))))
    wait = execution.step.wait
    conditions = wait.conditions.evaluate(execution.context)
    hears = [_mailbox(one) for one in conditions if not one.keys().isdisjoint(HEARD)]
    fields: dict[str, Any] = {"waits_for": "event" if hears else "time", "note": {"for": conditions}}
    becomes = "ready" if execution.step.deliverable else "completed"
    fields |= _timer(conditions, wait.timeout, becomes)
    if hears:
        heard = {"hears": hears, "organization": execution.claim.organization, "becomes": becomes}
        fields["more"] = {**fields.get("more", {}), **heard, "look_back": settings.EVENT_LOOK_BACK_HOURS}
    if wait.child is not None:
        return _with_child(execution, wait, conditions, fields)
    given = conditions[0] if len(conditions) == 1 else {"any": conditions}
    return Outcome("waiting", input=given, fields=fields)


def _with_child(execution: "Execution", wait: "Wait", conditions: list[Any], fields: dict[str, Any]) -> Outcome:
    child = wait.child or {}
    content = wait.child_input.evaluate(execution.context) if wait.child_input else {}
    given = {"any": [{"run": child["definition"], "with": content}, *conditions]}
    stays = child.get("if_parent_ends") == "leave"
    begun = launch(execution, child["definition"], content, given=given, version=child.get("version"), stays=stays)
    if begun.becomes != "waiting":
        return begun
    note = {**fields["note"], **begun.fields["note"]}
    more = {**fields.get("more", {}), **begun.fields["more"]}
    return Outcome("waiting", input=given, fields={**fields, "waits_for": "child", "note": note, "more": more})


def output_of(event: int | None) -> Any:
    """What came with it; None of a time."""
    if event is None:
        return None
    with returned_connection():
        return OutsideEvent.objects.get(pk=event).content


def _mailbox(condition: Mapping[str, Any]) -> dict[str, Any]:
    if "message" in condition:
        return {"name": condition["message"], "key": "", "message": True}
    name, key = as_text(condition["event"]), as_text(condition.get("key", ""))
    for what, text in (("event", name), ("key", key)):
        if len(text) > LONGEST_KEY:
            raise ExpressionError(f"`{what}` has {len(text):,} characters; at most {LONGEST_KEY} are taken")
    return {"name": name, "key": key}


def _timer(conditions: list[Mapping[str, Any]], timeout: float | None, becomes: str) -> dict[str, Any]:
    """The nearest time: exactly, if it is one of the clock, else from the moment in which the step begins to wait."""
    lengths = [(_seconds(one), becomes) for one in conditions if "for" in one]
    if timeout is not None:
        lengths.append((timeout, "failed"))
    until = min((_time(one) for one in conditions if "until" in one), default=None)
    if until is not None and lengths:
        with returned_connection():
            now = database_clock()
        if now + timedelta(seconds=min(lengths)[0]) < until:
            until = None
    if until is not None:
        return {"wake": 0.0, "more": {"at": until.isoformat(), "due_as": becomes}}
    if lengths:
        seconds, due_as = min(lengths)
        return {"wake": seconds, "more": {"due_as": due_as}}
    return {}


def _seconds(condition: Mapping[str, Any]) -> float:
    seconds = seconds_in(condition, "for")
    if seconds is None:
        raise ExpressionError(f"`for` gives {as_text(condition['for'])[:100]!r}, which is no duration such as 90s")
    return seconds


def _time(condition: Mapping[str, Any]) -> datetime:
    text = as_text(condition["until"])
    time = time_of(text)
    if time is None:
        raise ExpressionError(f"`until` gives {text[:100]!r}, which is no time with an offset")
    return time
