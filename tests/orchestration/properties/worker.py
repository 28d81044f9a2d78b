"""A worker process without its threads: the recorder, walkers and lease are the real ones, and take their turns when
they are told to."""

from dataclasses import dataclass
from typing import Any

from agents.calls import Result
from orchestration.engine.connection import rows
from orchestration.engine.hands import InHand
from orchestration.engine.outcomes import Outcome
from orchestration.engine.process import Process
from tests.orchestration.properties.model import Row

ENOUGH = 1_000  # walkers, those that hang included


class Script:
    """The agents' tool: it does what the plan says next."""

    def __init__(self):
        self.act = None
        self.given = None

    def __call__(self, call):
        self.given = call.input
        if isinstance(self.act, Exception):
            raise self.act
        return Result(self.act)


@dataclass(eq=False)
class Hand:
    """A claimed step, its call, and what came of it. `held`: the gate that let something else through."""

    worker: "Worker"
    in_hand: InHand
    row: Row
    outcome: Outcome | None = None
    expected: dict[str, Any] | None = None
    held: Row | None = None
    is_called: bool = False

    @property
    def claim(self):
        return self.in_hand.claim

    @property
    def is_current(self):
        return self.row.status == "running" and self.row.place == self.claim.place


class Worker:
    """A worker process without its threads."""

    def __init__(self):
        self.process = Process()
        self.process.lease.take()
        self.id = self.process.worker_id
        fit = "update orchestration_worker set fit_from = now() - interval '1 day' where id = %s"
        rows(fit, [self.id])  # it came long ago
        self.process.hands.walkers = ENOUGH  # as if their threads had begun
        self.is_dead = self.is_over = False

    def give_up(self):
        """What has hung for long, as it is handed in."""
        self.process.give_up_hung()
        return self.process.recorder._gather()

    def record(self, ended, *, look):
        """Hand these in, and claim for the walkers that are free; what lies on the walkers' shelf."""
        recorder = self.process.recorder
        recorder.more = look
        recorder._record(ended)
        while recorder._alone or not recorder.inbox.empty():
            recorder._record(recorder._gather())
        got = []
        while not self.process.hands.shelf.empty():
            got.append(self.process.hands.shelf.get())
        return got
