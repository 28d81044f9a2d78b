"""What the pages of a run say of each step: one line, for graph, timeline and table alike; and all of one step."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.calls import Call, Message
from agents.models import AgentVersion
from agents.runners.context import STREAM, messages_of
from orchestration.graph import Node, graph_of
from orchestration.models import Event, Step, StreamHead, StreamValue
from orchestration.run_rows import RunRows
from orchestration.timeline import WAITED, Bar, Span, Timeline, draw
from ui.statuses import Look, look_of
from ui.templatetags.ui import duration, look_in_words

LONGEST_MESSAGE = 20_000  # signs of a message that are shown
MOST_PIECES = 2_000  # of answers under way, of all steps of a run, that are looked through
MOSTLY = 0.9  # of a step's time
MOST_NODES = 200  # a larger graph is drawn when asked for
KINDS_OF_ERROR = {
    "temporary": "It could not be done at that time",
    "permanent": "It cannot be done like this",
    "timeout": "It took too long",
    "worker_lost": "The worker was lost",
    "expression": "An expression of the definition failed",
    "child_failed": "The run that it started failed",
    "child_rejected": "The run that it started was rejected",
    "child_canceled": "The run that it started was canceled",
}


@dataclass(slots=True)
class Line:
    """`place` names it in ids of elements; `took` is None while it lasts from `since` on; `waited` says what of it was
    spent waiting."""

    step: Step
    place: str
    look: Look
    word: str
    since: datetime | None
    took: str
    tries: str
    agent: str
    error: str
    is_selected: bool
    bars: Sequence[Bar] = ()
    node: Node | None = None
    waited: str = ""

    @property
    def name(self) -> str:
        return self.step.name if self.step.index is None else f"{self.step.name} {self.step.index}"


class Lines:
    def __init__(self, rows: RunRows, *, selected: Step | None, view: str, sees_payload: bool) -> None:
        self.rows = rows
        self.sees_payload = sees_payload
        self.selected = selected
        self.view = view

    @property
    def shows_graph(self) -> bool:
        return self.view == "graph" or (self.view == "" and len(self.rows.needs) <= MOST_NODES)

    def graph(self) -> Any:
        return graph_of(self.rows.outline.digest, self.rows.needs)

    def timeline(self) -> Timeline:
        run = self.rows.run
        newest = {step.key for step in self.rows.steps}
        spans = {key: lane for key, lane in self.rows.spans.items() if key in newest}
        return draw(spans, start=run.created_at, end=run.ended_at or self.rows.now)

    def lines(self, timeline: Timeline | None) -> list[Line]:
        nodes = {node.name: node for node in self.graph().nodes} if self.shows_graph else {}
        found = [self._line(step) for step in self.rows.steps]
        for line in found:
            line.node = nodes.pop(line.step.name, None)  # the first of several rows stands for them in the graph
            if timeline is not None:
                line.bars = timeline.bars.get(line.step.key, ())
                line.waited = waited(line.step, self.rows.spans.get(line.step.key, ()))
        return found

    def _line(self, step: Step) -> Line:
        look = look_of(step.status, step.waits_for)
        most = self.rows.attempts_of(step)
        version = self.rows.agent_versions.get(step.agent_version_id or 0)
        return Line(
            step=step,
            place=_place(step),
            look=look,
            word=look_in_words(look, step.wake_at, step.attempt, most),
            since=step.started_at if step.ended_at is None else None,
            took=took(step),
            tries=f"{step.attempt} of {most}" if most > 1 and step.attempt else str(step.attempt or ""),
            agent="people" if step.kind == "approval" else version.agent.slug if version else self._definition_of(step),
            error=(step.error or {}).get("message", "")[:300] if self.sees_payload else "",
            is_selected=self.selected is not None
            and self.selected.name == step.name
            and self.selected.index == step.index,
        )

    def _definition_of(self, step: Step) -> str:
        """What a step of kind `run` has started."""
        child = self.rows.relatives.get(step.child_run_id) if step.child_run_id else None
        return child.definition_version.definition.slug if child else ""


def _place(step: Step) -> str:
    if step.undoes is not None:
        return f"undo-{step.key}"
    return str(step.position) if step.index is None else f"{step.position}-{step.index}"


def took(step: Step) -> str:
    if step.started_at is None or step.ended_at is None:
        return ""
    return duration((step.ended_at - step.started_at).total_seconds())


def waited(step: Step, spans: Sequence[Span]) -> str:
    """ "waiting" of a step that did next to nothing else, "5 s of it waiting"; nothing while its status says so."""
    if step.started_at is None or step.ended_at is None:
        return ""
    seconds = sum((span.end - span.start).total_seconds() for span in spans if span.kind == WAITED and span.end)
    if not seconds:
        return ""
    total = (step.ended_at - step.started_at).total_seconds()
    return "waiting" if seconds >= MOSTLY * total else f"{duration(seconds)} of it waiting"


def most_telling(rows: RunRows) -> Step | None:
    """What a reader looks for first: what needs a look, failed, runs or waits; else the last that did anything."""
    failed = rows.named((rows.run.error or {}).get("step") or "")
    if rows.run.has_ended and failed:
        return failed
    for status in ("uncertain", "running", "waiting", "ready", "failed"):
        for step in rows.steps:
            if step.status == status:
                return step
    ended = [step for step in rows.steps if step.status == Step.Status.COMPLETED]
    return max(ended, key=lambda step: (step.ended_at or rows.run.created_at, step.position), default=None) or (
        rows.steps[0] if rows.steps else None
    )


@dataclass(slots=True)
class Try:
    """One attempt. `paused` is how long the next one waited after it."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    how: str = ""
    error: Mapping[str, Any] | None = None
    reversible: bool | None = None  # whether there is anything to undo, and something that does
    again_at: datetime | None = None

    @property
    def took(self) -> str:
        return duration((self.ended_at - self.started_at).total_seconds()) if self.ended_at else ""

    @property
    def paused(self) -> str:
        return duration((self.again_at - self.ended_at).total_seconds()) if self.again_at and self.ended_at else ""


def conversation_of(
    rows: RunRows, step: Step, version: AgentVersion | None, values: Mapping[str, Any]
) -> list[Message]:
    """What a language model was told, made anew as its runner makes it, and its reply. Empty for other agents, and
    while a value is too large to be read. A conversation of the definition's own is told by its length alone."""
    given, reply = values["input"], values["output"]
    if (
        not step.usage
        or step.cached_from
        or version is None
        or version.agent.kind != "context"
        or given["beginning"]
        or reply["beginning"]
    ):
        return []
    more: list[Message] = []
    if rows.outline.steps[step.position].converses and step.undoes is None:
        more = [Message("user", "(Here the definition's own conversation follows.)")]
    elif values["feedback"]:
        more = [Message("user", f"A reviewer sent this back with the note: {values['feedback'].get('note')}")]
    call = Call(given["value"], version.configuration, step.attempt, "", None, bool, tuple(more))
    said = messages_of(call)
    if reply["value"] is not None:
        said.append(Message("assistant", json.dumps(reply["value"], ensure_ascii=False, indent=1)))
    return [Message(message.role, message.content[:LONGEST_MESSAGE]) for message in said]


def answer_so_far(step: Step, version: AgentVersion | None) -> dict[str, Any] | None:
    """{text, number}: what its language model has written of the answer that is under way, and the last value of the
    stream that has it. None for a step that asks none."""
    if step.status != Step.Status.RUNNING or version is None or version.agent.kind != "context":
        return None
    head = StreamHead.objects.filter(run_id=step.run_id, name=STREAM).first()
    last = head.number if head else 0
    found = StreamValue.objects.filter(run_id=step.run_id, name=STREAM, number__gt=last - MOST_PIECES)
    said = [value for value in found.order_by("number") if (value.key, value.attempt) == (step.key, step.attempt)]
    newest = said[-1].value["answer"] if said else 1
    text = "".join(value.value["text"] for value in said if value.value["answer"] == newest)
    return {"text": text[-LONGEST_MESSAGE:], "number": last}


HOW = {
    "step.completed": "completed",
    "step.failed": "failed",
    "step.retrying": "failed, to be tried again",
    "step.ready": "handed back",
    "step.waiting": "waits",
    "checkpoint.requested": "asked",
    "step.uncertain": "result unknown",
    "step.canceled": "canceled",
    "step.skipped": "skipped",
    "step.blocked": "taken back",
}


def tries_of(events: Sequence[Event]) -> list[Try]:
    found: list[Try] = []
    for event in events:
        if event.type == "step.started":
            if found:
                found[-1].again_at = event.at
            found.append(Try(len(found) + 1, event.at))
        elif found and event.type in HOW and found[-1].ended_at is None:
            found[-1].ended_at = event.at
            found[-1].how = HOW[event.type]
            found[-1].error = (event.data or {}).get("error")
            found[-1].reversible = (event.data or {}).get("reversible")
    return found
