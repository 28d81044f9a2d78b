"""A run of a play: what became of it, and what people do to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from approvals.models import Request
from orchestration.engine import answers, mail, messages
from orchestration.engine.outcomes import load_payload
from orchestration.levers import LEVERS
from orchestration.models import Run, Step, subject_of
from orchestration.testkit.exceptions import NothingAsked, NotPlayable

if TYPE_CHECKING:
    from orchestration.testkit.play import Play


@dataclass(frozen=True, slots=True)
class PlayedStep:
    """A step as it is at the moment. `attempt` counts the tries of its newest round."""

    name: str
    kind: str
    status: str
    waits_for: str | None
    round: int
    index: int | None
    attempt: int
    input: Any
    output: Any
    error: Mapping[str, Any] | None
    decision: Mapping[str, Any] | None

    @classmethod
    def of(cls, step: Step) -> "PlayedStep":
        same = {name: getattr(step, name) for name in cls.__slots__ if name not in ("input", "output")}
        return cls(**same, input=whole(step.input, step.input_digest), output=whole(step.output, step.output_digest))


class PlayedRun:
    """Reads are of this moment; after each verb all has been done that can be done without time passing."""

    def __init__(self, play: "Play", pk: int) -> None:
        self.play = play
        self.pk = pk

    def __repr__(self) -> str:
        told = ", ".join(f"{step.name} {step.status}" for step in self.steps.values())
        return f"<{self.row.status}: {told}>"

    # --- reads

    @property
    def row(self) -> Run:
        return Run.objects.get(pk=self.pk)

    @property
    def status(self) -> str:
        return self.row.status

    @property
    def output(self) -> Any:
        row = self.row
        return whole(row.output, row.output_digest)

    @property
    def error(self) -> Any:
        return self.row.error

    @property
    def steps(self) -> dict[str, PlayedStep]:
        """By name, each in its newest round; of a map or a loop the whole, not its items or passes."""
        run = self.row
        return {step.name: PlayedStep.of(step) for step in [*run.newest_steps(), *run.undo_steps()]}

    def items(self, step: str) -> list[PlayedStep]:
        """The items of a map, or the passes of a loop, in their order."""
        head = next(each for each in self.row.newest_steps() if each.name == step)
        return [PlayedStep.of(each) for each in Step.objects.items_of(head)]

    @property
    def waiting(self) -> dict[str, str | None]:
        """What the steps that wait wait for: approval, time, event, child, limit or retry."""
        return {step.name: step.waits_for for step in self.steps.values() if step.status == Step.Status.WAITING}

    @property
    def children(self) -> list["PlayedRun"]:
        keys = Run.objects.filter(parent_run_id=self.pk).order_by("pk").values_list("pk", flat=True)
        return [PlayedRun(self.play, key) for key in keys]

    @property
    def events(self) -> list[dict[str, Any]]:
        """[{seq, type, at, …}]"""
        return [event.as_json() for event in self.row.events.order_by("seq")]

    @property
    def deliverables(self) -> dict[str, str]:
        """The newest version of each, by name."""
        return {each.name: each.content for each in self.row.deliverables.order_by("pk")}

    def question(self, step: str, index: int | None = None) -> Request:
        """The open question of this step, of its item `index`, or of a step of that name in a run below; the oldest, if
        there are several. That of the run's budget is called budget. Raises NothingAsked."""
        named = Q(context__step=step) | Q(context__kind=step)
        asked = Request.objects.pending().filter(named, context__run=self.row.public_id)
        if index is not None:
            asked = asked.filter(subject=subject_of(self.pk, step, index))
        if found := asked.order_by("pk").first():
            return found
        for child in self.children:
            try:
                return child.question(step, index)
            except NothingAsked:
                continue
        raise NothingAsked(f"{step} asks nothing now: {self!r}")

    # --- verbs

    def answer(
        self,
        step: str,
        choice: str = "continue",
        *,
        note: str = "",
        edits: Mapping[str, Any] | None = None,
        index: int | None = None,
        by: str = "approver",
    ) -> "PlayedRun":
        """`edits`: new values by JSON Pointer; `index`: of a map's item; `by`: a role. The refusals are those of every
        door."""
        asked = self.question(step, index)
        member = self.play.people[by]
        asked.decide(by=member, choice=choice, digest=asked.digest, note=note, edits=edits)
        return self._on()

    def resolve(self, step: str, outcome: str, output: Any = None, *, by: str = "operator") -> "PlayedRun":
        """Say what became of an uncertain step: completed, failed, or again."""
        row = self.row
        found = next(each for each in row.newest_steps() if each.name == step)
        answers.resolve(row, found, by=self.play.people[by], outcome=outcome, output=output, reason="as the test says")
        return self._on()

    def event(self, name: str, key: str = "", data: Any = None) -> "PlayedRun":
        """Deliver an event from outside."""
        mail.deliver(organization=self.play.organization, name=name, key=key, data=data, sender_id=None, by=None)
        return self._on()

    def message(self, name: str, data: Any = None, *, by: str = "operator") -> "PlayedRun":
        """Send a message to the run. It refuses as at every door."""
        messages.send(self.row, name=name, data=data, sender_id=None, by=self.play.people[by])
        return self._on()

    def cancel(self, *, by: str = "operator") -> "PlayedRun":
        answers.cancel(self.row, by=self.play.people[by], reason="as the test says")
        return self._on()

    def pull(self, lever: str, step: str | None = None, *, by: str = "operator", **given: Any) -> "PlayedRun":
        """A lever of the run, or of one of its steps: `pull("skip", "charge")`. It refuses as at every door."""
        row, of = self.row, "run" if step is None else "step"
        found = next((each for each in LEVERS if (each.name, each.of) == (lever, of)), None)
        if found is None:
            raise NotPlayable(f"A {of} has no lever {lever}.")
        newest = next((each for each in row.newest_steps() if each.name == step), None)
        found.pull(row, newest, {"reason": "as the test says", **given}, by=self.play.people[by])
        return self._on()

    def _on(self) -> "PlayedRun":
        self.play.go()
        return self


def whole(inline: Any, digest: Any) -> Any:
    return inline if digest is None else load_payload(bytes(digest))
