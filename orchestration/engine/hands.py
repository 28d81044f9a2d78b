import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.conf import settings

from orchestration.engine.lease import Life
from orchestration.engine.outcomes import UNDO, Claim, Outcome
from orchestration.engine.plans import StepPlan, agent_of, plan_of
from orchestration.engine.retries import call_seconds, timed_out

HUNG_GRACE_SECONDS = 5.0  # after a call's own deadline, before it is given up


@dataclass(slots=True, eq=False)
class InHand:
    """A claim that a walker is at work on, from its commit until its outcome is recorded. `is_canceled` asks this call
    to stop, and no other."""

    claim: Claim
    life: Life
    since: float = field(default_factory=time.monotonic)
    is_canceled: bool = False  # no event of its own: making one takes as long as all the rest
    called_at: float | None = None
    spoke_at: float = 0.0  # the last word of its call
    is_given_up: bool = False
    is_over: bool = False  # the outcome is handed in; it waits to be recorded
    in_a_row: int = 1  # steps of the run that were done here one after the other, this one included
    row_since: float = 0.0

    def __post_init__(self) -> None:
        self.row_since = self.row_since or self.since

    def next(self, claim: Claim, life: Life) -> "InHand":
        """The step of the same run that is done after this one."""
        return InHand(claim, life, in_a_row=self.in_a_row + 1, row_since=self.row_since)

    def begins(self) -> bool:
        """Whether the call may begin, asked right before it: the process may have stood still until now, so that
        another has the step."""
        self.called_at = time.monotonic()  # first: see `Hands._give_up`
        if self.life.may_begin() and not self.is_given_up:
            return True
        self.called_at = None
        return False

    def canceled(self) -> bool:
        return self.is_canceled

    def heard(self) -> None:
        self.spoke_at = time.monotonic()

    @property
    def step(self) -> StepPlan | None:
        """None of what calls no agent."""
        claim = self.claim
        is_call = claim.kind in ("agent", UNDO)
        return plan_of(claim.definition_version).step_of(claim.position, claim.kind) if is_call else None

    @property
    def seconds(self) -> float:
        """What the call may take."""
        return float(call_seconds(self.step) if self.step else settings.AGENT_CALL_TIMEOUT_SECONDS)


class Hands:
    """What the walkers of a process are at work on."""

    def __init__(self) -> None:
        # One shelf for all walkers: one that is quick takes the next claim without another thread's waking up for it.
        self.shelf: queue.SimpleQueue[InHand | None] = queue.SimpleQueue()
        self.walkers = 0
        self._lock = threading.Lock()
        self._asked_to_stop = threading.Condition(self._lock)
        self._in_hand: set[InHand] = set()
        self._hung: set[InHand] = set()  # given up; their threads come back, or never
        self._owed: set[tuple[int, int, int]] = set()  # given to a walker, and not recorded yet
        self._empty = threading.Event()
        self._empty.set()

    def free(self) -> int:
        """How many walkers could begin something."""
        return max(0, int(settings.WORKER_THREADS) - len(self._in_hand))

    def __contains__(self, hand: InHand) -> bool:
        return hand in self._in_hand

    def wait_until_empty(self, seconds: float) -> None:
        self._empty.wait(seconds)

    # --- from claim to record

    def begin(self, claim: Claim, life: Life, after: InHand | None = None) -> bool:
        """Put a claim on the shelf; whether one more walker is needed. `after`: the recorded step whose place it takes.

        Reads nothing: what the recorder has claimed must reach a walker even if the database is gone by now.
        """
        hand = after.next(claim, life) if after else InHand(claim, life)
        with self._lock:
            if after:
                self._in_hand.discard(after)
            self._in_hand.add(hand)
            self._owed.add(hand.claim.place)
            self._empty.clear()
            another = self.walkers < len(self._in_hand) + len(self._hung)
            self.walkers += another
        self.shelf.put(hand)
        return another

    def handed_in(self, hand: InHand) -> None:
        """From here on only the recorder is waited for: the call cannot hang any more."""
        with self._lock:
            hand.is_over = True
            self._hung.discard(hand)

    def recorded(self, claim: Claim) -> None:
        with self._lock:
            self._owed.discard(claim.place)

    def finish(self, hand: InHand) -> None:
        """The outcome is recorded, and no next step of the run is done here."""
        with self._lock:
            self._in_hand.discard(hand)
            if not self._in_hand:
                self._empty.set()

    def owed(self) -> set[tuple[int, int, int]]:
        """Places of the steps whose outcome this process still has to record, or to find."""
        with self._lock:
            return set(self._owed)

    # --- calls that must stop

    def places(self) -> list[tuple[int, int, int]]:
        with self._lock:
            return sorted(hand.claim.place for hand in self._in_hand)

    def ask_to_stop(self, which: Callable[[InHand], bool] = lambda hand: True) -> None:
        with self._lock:
            for hand in self._in_hand:
                hand.is_canceled |= which(hand)
            self._asked_to_stop.notify_all()

    def wait_until_canceled(self, hand: InHand, seconds: float) -> None:
        with self._lock:
            self._asked_to_stop.wait_for(hand.canceled, seconds)

    def give_up_hung(self) -> Iterator[tuple[InHand, Outcome]]:
        """What has taken too long, and what becomes of it. What its thread brings later is late."""
        now = time.monotonic()
        with self._lock:
            begun = [(hand, hand.called_at) for hand in self._in_hand if not hand.is_over]
        for hand, called_at in begun:
            outcome = of_hung(hand, called_at, now)
            if outcome is not None and self._give_up(hand, called_at):
                yield hand, outcome

    def _give_up(self, hand: InHand, called_at: float | None) -> bool:
        with self._lock:
            hand.is_given_up = True
            # Now its thread sees that, or has written when its call began: then it has not hung for long.
            if hand.is_over or hand not in self._in_hand or hand.called_at != called_at:
                hand.is_given_up = False
                return False
            self._in_hand.discard(hand)
            self._hung.add(hand)
            hand.is_canceled = True
            self._asked_to_stop.notify_all()
        return True


def of_hung(hand: InHand, called_at: float | None, now: float) -> Outcome | None:
    """What becomes of a call that is long past its deadline, or silent for too long; a step that did not come to its
    call (a database that does not answer) is handed back. None if it has its time."""
    claim = hand.claim
    agent = agent_of(claim.agent_version).slug if claim.agent_version else claim.kind
    if now - (called_at or hand.since) > hand.seconds + HUNG_GRACE_SECONDS:
        if called_at is None:
            return Outcome("ready", fields={"unlost": True})
        return timed_out(claim, f"{agent} did not answer within {hand.seconds:g} s, nor stop.")
    silence = hand.step.timeouts.get("silence") if hand.step else None
    if called_at is not None and silence is not None and now - max(called_at, hand.spoke_at) > silence:
        return timed_out(claim, f"{agent} said nothing for {silence:g} s.")
    return None
