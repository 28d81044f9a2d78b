import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from django.db import InterfaceError, OperationalError

from orchestration.engine.execution import Execution
from orchestration.engine.facts import facts_of
from orchestration.engine.lines import LineWriter
from orchestration.engine.outcomes import Claim, Outcome, failed
from orchestration.engine.retries import pause_before_handing_back

if TYPE_CHECKING:
    from orchestration.engine.hands import InHand
    from orchestration.engine.process import Process

log = structlog.get_logger(__name__)


class Walker(threading.Thread):
    """Does one claimed step after the other. It holds no connection while it calls."""

    def __init__(self, process: "Process", number: int) -> None:
        super().__init__(name=f"walker-{number}", daemon=True)
        self.process = process

    def run(self) -> None:
        while (hand := self.process.hands.shelf.get()) is not None:
            voice = Voice(self.process.lines, hand.claim, hand.heard)
            outcome = self._outcome(hand, voice)
            voice.tell_failure(outcome)
            if voice.has_spoken:  # who sees the step's end finds its lines
                self.process.lines.flush()
            self.process.recorder.ended(hand, outcome)

    def _outcome(self, hand: "InHand", voice: "Voice") -> Outcome | None:
        claim = hand.claim
        try:
            facts = facts_of(claim)
            asks = (hand.canceled, voice, hand.begins, voice.emit, hand.heard)
            return Execution(claim, facts, *asks).outcome()
        except (OperationalError, InterfaceError) as exc:
            log.warning("database_lost", run=claim.public_id, step=claim.name, error=str(exc).strip())
            self.process.hands.wait_until_canceled(hand, pause_before_handing_back(claim))
            return Outcome("ready", fields={"unlost": True})
        except Exception as exc:
            log.exception("step_crashed", run=claim.public_id, step=claim.name)
            return failed("permanent", f"{type(exc).__name__}: {exc}")


class Voice:
    """What one try of a step says into its run's log, and hands out in its run's streams."""

    __slots__ = ("claim", "has_spoken", "heard", "lines")

    def __init__(self, lines: LineWriter, claim: Claim, heard: Callable[[], None] = lambda: None) -> None:
        self.lines = lines
        self.claim = claim
        self.heard = heard
        self.has_spoken = False

    def __call__(self, text: str, level: str = "info") -> None:
        self.has_spoken = True
        self.heard()
        self.lines.say(self.claim, text, level)

    def emit(self, name: str, value: Any) -> None:
        self.heard()
        self.lines.emit(self.claim, name, value)
        self.has_spoken = True

    def tell_failure(self, outcome: Outcome | None) -> None:
        """One line for each try that failed, with class and message."""
        error = outcome.fields.get("error") if outcome is not None else None
        if outcome is None or error is None:
            return
        words = f"Attempt {self.claim.attempt} failed: {error['class']}: {error['message']}"
        if outcome.becomes == "waiting":
            self(f"{words} (again in {outcome.fields['wake']:.1f} s)", "warning")
        elif outcome.becomes == "uncertain":
            self(f"{words} (it may have happened: a person has to look)", "error")
        else:
            self(words, "error")
