"""What the acts are done with: workers, agents, steps in hand."""

from dataclasses import dataclass
from typing import Any

from hypothesis import currently_in_test_context, event

from agents.calls import Result
from orchestration.engine.connection import rows
from orchestration.engine.hands import InHand
from orchestration.engine.outcomes import Outcome
from orchestration.testkit import worker
from tests.orchestration.properties.model import Row


def reached(words):
    """Told by `-s` of the examples; a play by hand has nobody to tell."""
    if currently_in_test_context():
        event(words)


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
    is_at_work: bool = False  # its agent was called

    @property
    def claim(self):
        return self.in_hand.claim

    @property
    def is_current(self):
        return self.row.status == "running" and self.row.place == self.claim.place


class Worker(worker.Worker):
    """One that can be declared dead, and whose calls can hang."""

    def __init__(self):
        super().__init__()
        fit = "update orchestration_worker set fit_from = now() - interval '1 day' where id = %s"
        rows(fit, [self.id])  # it came long ago
        self.is_dead = self.is_over = False

    def give_up(self):
        """What has hung for long, as it is handed in."""
        self.process.give_up_hung()
        return self.process.recorder._gather()
