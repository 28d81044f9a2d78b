"""How each status looks: a word, an icon and a tone. The only such map; chips, graph, lists and docs read it."""

from typing import NamedTuple


class Look(NamedTuple):
    """`icon` is a file of static/vendor/lucide; `tone` a group of colours in static/countersign.css.

    `until` is said instead of `word` where it is known when the wait ends: {left} is the time until then.
    """

    word: str
    icon: str
    tone: str
    until: str = ""


LOOKS = {
    "completed": Look("Completed", "circle-check", "good"),
    "running": Look("Running", "loader-circle", "busy"),
    "waiting": Look("Waiting", "hand", "wait"),
    "failed": Look("Failed", "circle-x", "bad"),
    "rejected": Look("Rejected", "ban", "bad"),
    "planning": Look("Planning", "circle-dashed", "idle"),
    "blocked": Look("Not started", "circle-dashed", "idle"),
    "ready": Look("Ready", "circle-dashed", "idle"),
    "skipped": Look("Skipped", "circle-slash", "none"),
    "canceled": Look("Canceled", "circle-stop", "idle"),
    "canceling": Look("Canceling", "circle-stop", "idle"),
    "paused": Look("Paused", "circle-pause", "wait"),
    "uncertain": Look("Result unknown, needs a look", "circle-question-mark", "wait"),
    # of requests
    "pending": Look("Open", "hand", "wait"),
    "decided": Look("Decided", "circle-check", "good"),
    "expired": Look("Expired", "clock", "idle"),
    "withdrawn": Look("Withdrawn", "circle-slash", "none"),
}
WAITS = {
    "approval": Look("Waiting for approval", "hand", "wait", "Waiting for approval, {left} left"),
    "time": Look("Waiting for time", "clock", "wait", "Waiting for time, {left} left"),
    "event": Look("Waiting for event", "radio", "wait", "Waiting for event, {left} left"),
    "child": Look("Waiting for a child", "git-branch", "wait", "Waiting for a child, {left} left"),
    "limit": Look("Waiting for a limit", "gauge", "wait", "Waiting for a limit, {left} left"),
    "retry": Look("Waiting to retry", "rotate-cw", "wait", "Retry {next} in {left}"),
}


def look_of(status: str, waits_for: str | None = None) -> Look:
    """The look of a status; for `waiting`, of what it waits for, when that is known."""
    if status == "waiting" and waits_for in WAITS:
        return WAITS[waits_for]
    return LOOKS.get(status) or Look(status.replace("_", " ").capitalize(), "circle-dashed", "idle")
