"""A stored run against a newer text: its agents answer as they did, its people decide as they did."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.calls import Call
from agents.exceptions import Permanent
from approvals.editing import NoSuchPlace, places_of, tokens_of, value_at
from approvals.models import Request
from orchestration.models import Step
from orchestration.testkit.canned import step_of
from orchestration.testkit.played import PlayedRun

if TYPE_CHECKING:
    from orchestration.testkit.play import Play


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the newer text leaves the path. `what` is status, input or output; `step` "" is the run itself."""

    step: str
    what: str
    was: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.step or 'the run'}: its {self.what} was {self.was!r} and is {self.now!r}"


def run(play: "Play", stored: Mapping[str, Any] | str | Path) -> list[Difference]:
    """Empty if the run would take the same path to the same end. `stored`: what GET runs/ID/ answers, or a file of it.

    A step that it does not have, or that had no end there, fails; of each step the newest round counts.
    """
    history = stored if isinstance(stored, Mapping) else json.loads(Path(stored).read_text(encoding="utf-8"))
    then = {step["name"]: step for step in history["steps"]}
    names = [step["name"] for step in play.versions[0].plan["steps"]]
    names += [f"{name}:undo" for name in names]
    play.company.steps = {name: answers_of(then.get(name)) for name in names}
    played = play.start(history["input"])
    while _decide(play, played, then) or play.pass_to_next_timer():
        pass
    return [*_steps(then, played), *_ends(history, played)]


def answers_of(step: Mapping[str, Any] | None) -> Any:
    def answer(call: Call) -> Any:
        if step is None or step["status"] not in Step.ENDED:
            raise Permanent(f"The history has no answer of {step_of(call)}.")
        if step["error"]:
            raise Permanent(step["error"]["message"])
        if step["kind"] != "map":
            return step["output"]
        output = step["output"][int(call.idempotency_key.split(":")[3])]
        if output is None:
            raise Permanent("This item failed.")
        return output

    return answer


def _decide(play: "Play", played: PlayedRun, then: Mapping[str, Any]) -> bool:
    """Whether there was a question that the history has an answer to."""
    for request in Request.objects.pending().filter(context__run=played.row.public_id).order_by("pk"):
        step = then.get(request.step or "") or {}
        if decision := step.get("decision"):
            edits = _edits(request, step["output"]) if decision["choice"] == "continue" else {}
            played.answer(step["name"], decision["choice"], note=decision["note"] or "as before", edits=edits)
            return True
    return False


def _edits(request: Request, output: Any) -> dict[str, Any]:
    """What makes the output of then out of what is shown now, where that may be edited and is there."""
    edits = {}
    for pointer in (place for pattern in request.editable for place in places_of(request.payload, pattern)):
        try:
            was, now = (value_at(content, tokens_of(pointer)) for content in (output, request.payload))
        except NoSuchPlace:
            continue
        if was != now:
            edits[pointer] = was
    return edits


def _steps(then: Mapping[str, Any], played: PlayedRun) -> list[Difference]:
    now = played.steps
    found = []
    for name in {**then, **now}:
        for what in ("status", "input", "output"):
            was_so, is_so = then.get(name, {}).get(what), getattr(now.get(name), what, None)
            if was_so != is_so:
                found.append(Difference(name, what, was_so, is_so))
    return found


def _ends(history: Mapping[str, Any], played: PlayedRun) -> list[Difference]:
    return [
        Difference("", what, history[what], getattr(played, what))
        for what in ("status", "output")
        if history[what] != getattr(played, what)
    ]
