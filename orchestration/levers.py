"""The levers of people at live runs: what each needs, and when it can be pulled. Every door is made from this list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.dateparse import parse_datetime

from accounts.models import Member, Role
from orchestration.engine.answers import cancel, resolve
from orchestration.engine.checks import Check
from orchestration.engine.levers import adjusting, by_hand, keeping, pausing, retrying
from orchestration.exceptions import InvalidInput
from orchestration.models import Run, Step

REASON = {"type": "string", "minLength": 1, "maxLength": 2_000, "pattern": r"\S", "description": "Why; for the audit."}
GOES_ON = frozenset(Run.Status) - set(Run.ENDED)
ENDED = frozenset(Run.ENDED)


def nothing(row: Run | Step) -> None:
    """Stands against it."""


@dataclass(frozen=True)
class Lever:
    """`fields` are JSON Schemas beside the reason, which each needs; `when` are statuses of the run, or of the step.

    `unless`: why it cannot be pulled though the status allows it.
    """

    name: str
    does: str
    act: Callable[..., Any]
    when: frozenset[str]
    of: str = "run"
    fields: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    role: str = Role.OPERATOR
    unless: Callable[[Any], str | None] = nothing

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"reason": REASON, **self.fields},
            "required": ["reason", *self.required],
            "additionalProperties": False,
        }

    def refusal(self, row: Run | Step) -> str | None:
        """Why it cannot be pulled as things are; None if it can."""
        if row.status in self.when:
            return self.unless(row)
        what = f"Step {row.name}" if isinstance(row, Step) else "The run"
        return f"{what} is {row.status}; this is for one that is {listed(self.when)}."

    def pull(self, run: Run, step: Step | None, given: Any, *, by: Member | None) -> None:
        """Raises InvalidInput, and what the verb raises where the state does not allow it."""
        errors = Check(self.schema).errors(given, "")
        if errors:
            raise InvalidInput(errors)
        self.act(run, *([step] if step else []), by=by, **given)


def listed(statuses: frozenset[str]) -> str:
    *others, last = sorted(statuses)
    return f"{', '.join(others)} or {last}" if others else last


def _retry_step(run: Run, step: Step, *, by: Member | None, reason: str) -> None:
    retrying.retry(run, by=by, reason=reason, steps=[step.name])


def _set_deadline(run: Run, *, by: Member | None, reason: str, deadline_at: str | None) -> None:
    found = parse_datetime(deadline_at) if deadline_at else None
    if deadline_at and (found is None or found.tzinfo is None):
        raise InvalidInput([{"pointer": "/deadline_at", "message": "This is no time with its offset from UTC."}])
    adjusting.set_deadline(run, by=by, reason=reason, deadline_at=found)


def _resolve(run: Run, step: Step, *, by: Member, outcome: str, reason: str, output: Any = None) -> None:
    resolve(run, step, by=by, outcome=outcome, output=output, reason=reason)


LEVERS = (
    Lever("cancel", "Calls under way may end, nothing more starts, and children are canceled.", cancel, GOES_ON),
    Lever(
        "pause",
        "Nothing more starts, here and in the runs it started; calls under way end, and times go on.",
        pausing.pause,
        frozenset({Run.Status.RUNNING, Run.Status.WAITING}),
    ),
    Lever("resume", "It goes on where it was paused.", pausing.resume, frozenset({Run.Status.PAUSED})),
    Lever(
        "retry",
        "The steps that failed are tried again, with what was skipped for them; all others keep what they did.",
        retrying.retry,
        GOES_ON - {Run.Status.CANCELING, Run.Status.PLANNING} | {Run.Status.FAILED},
        fields={
            "steps": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "All that failed, if left out.",
            }
        },
    ),
    Lever(
        "priority",
        "What is ready of it comes before what has a lower one.",
        adjusting.set_priority,
        GOES_ON,
        fields={"priority": {"type": "integer", "minimum": -100, "maximum": 100}},
        required=("priority",),
    ),
    Lever(
        "deadline",
        "It fails if it has not ended by then.",
        _set_deadline,
        GOES_ON,
        fields={"deadline_at": {"type": ["string", "null"], "description": "RFC 3339; null: none."}},
        required=("deadline_at",),
    ),
    Lever(
        "archive",
        "It is in no list unless archived ones are asked for, with all that it started. Nothing is lost.",
        keeping.archive,
        ENDED,
        unless=keeping.unarchivable,
    ),
    Lever(
        "restore",
        "It is in lists again, with all that it started.",
        keeping.restore,
        ENDED,
        unless=keeping.unrestorable,
    ),
    Lever(
        "delete",
        "It goes for good, with all that it started: what that is, and its digest, is said before.",
        keeping.delete,
        ENDED,
        fields={"digest": {"type": "string", "description": "Of what is to go, as it was shown."}},
        required=("digest",),
        role=Role.ADMIN,
        unless=keeping.undeletable,
    ),
    Lever("skip", "It ends as skipped, and so do steps that need it.", by_hand.skip, by_hand.IDLE, of="step"),
    Lever(
        "output",
        "It is completed with this output, as if its agent had given it.",
        by_hand.set_output,
        by_hand.IDLE | {Step.Status.FAILED},
        of="step",
        fields={"output": {}},
        required=("output",),
    ),
    Lever(
        "retry",
        "It is tried again, with what was skipped for it; all others keep what they did.",
        _retry_step,
        frozenset({Step.Status.FAILED}),
        of="step",
    ),
    Lever(
        "resolve",
        "Says what became of a call that may have happened.",
        _resolve,
        frozenset({Step.Status.UNCERTAIN}),
        of="step",
        fields={"outcome": {"enum": ["completed", "failed", "again"]}, "output": {}},
        required=("outcome",),
    ),
)
