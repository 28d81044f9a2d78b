"""Agents that answer as a test says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agents import tools
from agents.calls import Call, Result
from agents.models import AgentVersion
from agents.runners import Runner
from orchestration.engine.plans import agent_of
from orchestration.testkit.exceptions import NoAnswerCanned

Answer = Callable[[Call], Any] | Any


class InTurn:
    """One answer after the other, the last again and again."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.left = list(answers)

    def __call__(self, call: Call) -> Any:
        return given(self.left.pop(0) if len(self.left) > 1 else self.left[0], call)


def in_turn(*answers: Answer) -> InTurn:
    return InTurn(answers)


def given(answer: Answer, call: Call) -> Any:
    """What an answer is for this call: a function's of the call, an exception raised, anything else as it is."""
    if isinstance(answer, Exception):
        raise answer
    return answer(call) if callable(answer) else answer


class Company:
    """All agents of a play. Who has no canned answer works as ever, if that reaches nobody outside: `echo`, which does
    not wait here, and orchestrators. `calls` has all that came, by agent."""

    def __init__(self, agents: Mapping[str, Answer], steps: Mapping[str, Answer]) -> None:
        self.agents, self.steps = agents, steps
        self.calls: dict[str, list[Call]] = {}

    def engage(self, version: AgentVersion) -> None:
        facts = agent_of(version.pk)
        facts.runner = self._runner(facts.slug, facts.runner, own=facts.kind == "orchestrator")

    def _runner(self, slug: str, runner: Runner, *, own: bool) -> Runner:
        def run(call: Call) -> Result:
            self.calls.setdefault(slug, []).append(call)
            step = step_of(call)
            if step in self.steps:
                return result(given(self.steps[step], call))
            if slug in self.agents:
                return result(given(self.agents[slug], call))
            if own:
                return runner(call)
            if call.configuration.get("tool") == "echo":
                return tools.echo(replace(call, input={**call.input, "seconds": 0}))
            raise NoAnswerCanned(
                f"The step {step} called {slug} with {call.input!r}, and the test has no answer for either:"
                f" give agents={{{slug!r}: …}} or steps={{{step!r}: …}}."
            )

        return run


def step_of(call: Call) -> str:
    """The key is RUN:STEP:ROUND, and more for items; what undoes STEP is STEP:undo."""
    _, name, *places = call.idempotency_key.split(":")
    return f"{name}:undo" if places[-1] == "undo" else name


def result(answer: Any) -> Result:
    return answer if isinstance(answer, Result) else Result(answer)
