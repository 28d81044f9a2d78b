"""The plain values between the engine and whoever does a step: no model, no secret, no connection."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LEVELS = ("debug", "info", "warning", "error")  # of a line in a run's log


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


def say_nothing(text: str, level: str = "info") -> None:
    """For a call that nobody listens to."""


def be_still() -> None:
    """For a call whose silence nobody minds."""


def emit_nothing(name: str, value: Any) -> None:
    """For a call whose values nobody reads."""


@dataclass(frozen=True, slots=True)
class Call:
    """One try of one step. `attempt` counts from 1; `deadline_seconds` is for the whole call, None: the agent's own.

    `idempotency_key` is the same in every try of the step. `canceled` is cheap and may be asked often. So is
    `log(text, level)`, for people who watch the run: it never waits and never raises; secrets are taken out on its way.
    `emit(name, value)` hands a value out before the answer is there, to programs that read the run's stream of that
    name. It never waits either, and raises ValueError for what is no JSON, too large, or no name. `heartbeat()` says
    that the call is at work, and nothing more; so do the other two, besides what they say.
    """

    input: Any
    configuration: Mapping[str, Any]
    attempt: int
    idempotency_key: str
    deadline_seconds: float | None
    canceled: Callable[[], bool]
    conversation: tuple[Message, ...] = ()
    output_schema: Mapping[str, Any] | None = None
    log: Callable[..., None] = say_nothing
    emit: Callable[[str, Any], None] = emit_nothing
    heartbeat: Callable[[], None] = be_still


@dataclass(frozen=True, slots=True)
class Usage:
    """`cost_usd` is our estimate, None if the model's price is unknown; `simulated`: no one was really paid."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    model: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class Result:
    output: Any
    usage: Usage | None = None
