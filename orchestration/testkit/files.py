"""Plays that are written down: `NAME.play.yaml` beside the definition `NAME.yaml` or `NAME.json`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from agents.calls import Call
from agents.exceptions import AgentError, Permanent, Temporary, TimedOut
from agents.schemas import value_findings
from orchestration.language.documents import Unreadable
from orchestration.seeding import PLAY, read_play
from orchestration.testkit.canned import in_turn
from orchestration.testkit.exceptions import NotPlayable
from orchestration.testkit.play import Play
from orchestration.testkit.played import PlayedRun

FAILURES: Mapping[str, type[AgentError]] = {"temporary": Temporary, "permanent": Permanent, "timeout": TimedOut}
ANSWERS = {
    "type": "object",
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"output": {}, "fails": {"enum": list(FAILURES)}, "message": {"type": "string"}},
            "oneOf": [{"required": ["output"]}, {"required": ["fails"]}],
        },
    },
}
LOOKS: Mapping[str, Any] = {
    "status": {"type": "string"},
    "output": {},
    "error": {},
    "statuses": {"type": "object"},
    "waiting": {"type": "object"},
    "shown": {"type": "object"},
    "deliverables": {"type": "object"},
    "calls": {"type": "object"},
    "events": {"type": "object"},
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["status"],
    "properties": {
        "input": {},
        "at": {"type": "string"},
        "others": {"type": "array", "items": {"type": "string"}},
        "policies": {"type": "array", "items": {"type": "string"}},
        "agents": ANSWERS,
        "steps": ANSWERS,
        "then": {"type": "array", "items": {"type": "object", "minProperties": 1}},
        **LOOKS,
    },
}
VERBS = ("answer", "resolve", "cancel", "event", "message")


@dataclass(frozen=True)
class Script:
    """One such file."""

    path: Path

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(PLAY)

    @property
    def definition(self) -> Path:
        found = [self.path.with_name(self.name + suffix) for suffix in (".yaml", ".yml", ".json")]
        return next((path for path in found if path.exists()), found[0])

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """Raises NotPlayable."""
        try:
            content: Mapping[str, Any] = read_play(self.path)
        except Unreadable as exc:
            raise NotPlayable(str(exc.finding)) from exc
        if findings := value_findings(content, SCHEMA):
            raise NotPlayable("\n".join(f"{self.path}{found.pointer}: {found.message}" for found in findings))
        return content

    def perform(self) -> PlayedRun:
        """Run it. Raises AssertionError with each thing that is not as the file says."""
        content = self.content
        play = Play(
            self.definition,
            *(self.path.parent / other for other in content.get("others", [])),
            agents=answers_in(content.get("agents", {})),
            steps=answers_in(content.get("steps", {})),
            policies=content.get("policies", []),
            at=datetime.fromisoformat(content["at"]) if "at" in content else None,
        )
        run = play.start(content.get("input"))
        for number, act in enumerate(content.get("then", [])):
            self._act(run, act, f"then/{number}")
        self._look(run, {name: content[name] for name in LOOKS if name in content}, "the end")
        return run

    def _act(self, run: PlayedRun, act: Mapping[str, Any], where: str) -> None:
        (verb, subject), *more = act.items()
        if verb == "pass":
            run.play.pass_time(subject)
        elif verb == "expect":
            self._look(run, subject, where)
        elif verb in VERBS:
            getattr(run, verb)(subject, **dict(more))
        else:
            raise NotPlayable(f"{self.path}: {where}: {verb} is no act: there are pass, expect, {', '.join(VERBS)}.")

    def _look(self, run: PlayedRun, expected: Mapping[str, Any], where: str) -> None:
        found = {name: look_at(run, name, wanted) for name, wanted in expected.items()}
        wrong = [
            f"{name} is {found[name]!r}, not {wanted!r}" for name, wanted in expected.items() if found[name] != wanted
        ]
        if wrong:
            raise AssertionError("\n".join([f"{self.path.name}, {where}:", *wrong, repr(run), *run.play.lines]))


def look_at(run: PlayedRun, name: str, wanted: Any) -> Any:
    """Of what has names, only those that are asked for."""
    match name:
        case "statuses":
            return {name: step.status for name, step in run.steps.items() if name in wanted}
        case "shown":
            return {name: run.question(name).payload for name in wanted}
        case "calls":
            return {name: len(run.play.calls.get(name, [])) for name in wanted}
        case "events":
            told = Counter(event["type"] for event in run.events)
            return {name: told[name] for name in wanted}
        case "deliverables":
            return {name: text for name, text in run.deliverables.items() if name in wanted}
    return getattr(run, name)


def answers_in(canned: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Any]:
    return {name: in_turn(*map(answer_in, answers)) for name, answers in canned.items()}


def answer_in(answer: Mapping[str, Any]) -> Any:
    if "fails" in answer:
        return FAILURES[answer["fails"]](answer.get("message", "as the play says"))

    def give(call: Call) -> Any:
        return answer["output"]

    return give


def scripts_in(folder: str | Path) -> list[Script]:
    """All plays of a folder; a test takes them as its parameters."""
    return [Script(path) for path in sorted(Path(folder).glob(f"*{PLAY}"))]
