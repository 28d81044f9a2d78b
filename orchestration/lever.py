"""What a lever is: something that people do to live runs, with what it needs and when it can be pulled."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from accounts.json_values import unstorable
from accounts.models import Member, Role
from orchestration.engine.checks import Check
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import Run, Step

REASON = {"type": "string", "minLength": 1, "maxLength": 2_000, "pattern": r"\S", "description": "Why; for the audit."}
NO_STEP = "It undoes what another step did; only what became of it can be said, when that is unknown."


def nothing(row: Run | Step, also: Any = None) -> None:
    """Stands against it."""


@dataclass(frozen=True)
class Filled:
    """`value` is what stands in a field at first, None for nothing; `help` says what that is."""

    value: Any
    help: str


@dataclass(frozen=True)
class Lever:
    """`fields` are JSON Schemas beside the reason, which each needs; `when` are statuses of the run, or of the step.

    `unless`: why it cannot be pulled though the status allows it; `among`: as the run's steps are, which it reads if
    they are not at hand; `against`: why not, of many runs, by their keys, with what is given so far. `act` may give the
    run to go to. `preview` says, line by line, what it would do to this run and step with what is given so far. `seen`:
    fields that nobody types; they say what was shown, and it is refused if that is not so any more. The rest is for
    pages alone.
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
    among: Callable[[Any, Collection[Step] | None], str | None] = nothing
    against: Callable[[Collection[Run], Mapping[str, Any]], Mapping[int, str]] = lambda *_: {}
    preview: Callable[[Run, Any, Mapping[str, Any]], list[str] | None] = lambda *_: None
    seen: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    filled: Mapping[str, Callable[[Any, Member], "Filled"]] = field(default_factory=dict)  # what fields hold at first
    looks: bool = False  # its preview depends on what is given
    label: str = ""  # of its button; its name, if left out
    icon: str = ""
    done: str = "Done."  # what is said afterwards
    is_grave: bool = False  # it cannot be taken back
    is_first: bool = False  # its button stands by itself, not among the others
    idle: frozenset[str] = frozenset()  # there it changes nothing, and is not offered

    @property
    def words(self) -> str:
        return self.label or self.name.capitalize()

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"reason": REASON, **self.fields},
            "required": ["reason", *self.required],
            "additionalProperties": False,
        }

    def refusal(self, row: Run | Step, steps: Collection[Step] | None = None) -> str | None:
        """Why it cannot be pulled as things are; None if it can. `steps`: those of the run, if they are at hand."""
        if self._is_of_undo(row):
            return NO_STEP
        if row.status in self.when:
            return self.unless(row) or self.among(row, steps)
        what = f"Step {row.name}" if isinstance(row, Step) else "The run"
        return f"{what} is {row.status}; this is for one that is {listed(self.when)}."

    def _is_of_undo(self, row: Run | Step) -> bool:
        """Of what undoes only the result can be said."""
        return isinstance(row, Step) and row.undoes is not None and self.name != "resolve"

    def check(self, given: Any) -> None:
        """Raises InvalidInput for what no state would allow."""
        missing = [name for name in self.schema["required"] if isinstance(given, dict) and name not in given]
        errors = [{"pointer": f"/{name}", "message": "This is needed."} for name in missing]
        errors = errors or Check(self.schema).errors(given, "")
        if not errors and (problem := unstorable(given)):
            errors = [{"pointer": "", "message": problem}]
        if errors:
            raise InvalidInput(errors)

    def look(self, run: Run, step: Step | None, given: Mapping[str, Any]) -> list[str]:
        return self.preview(run, step, given) or []

    def pull(self, run: Run, step: Step | None, given: Any, *, by: Member | None) -> Any:
        """What the verb gives. Raises InvalidInput, and what the verb raises where the state does not allow it."""
        self.check(given)
        if step and self._is_of_undo(step):
            raise Refused(NO_STEP)
        return self.act(run, *([step] if step else []), by=by, **given)


def listed(statuses: frozenset[str]) -> str:
    *others, last = sorted(statuses)
    return f"{', '.join(others)} or {last}" if others else last
