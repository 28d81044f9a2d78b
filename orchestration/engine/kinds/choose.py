"""A choice among steps: those that it names look whether they were chosen, each when its turn has come."""

from typing import TYPE_CHECKING

from orchestration.engine.outcomes import Outcome

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def begin(execution: "Execution") -> Outcome:
    for condition, then in execution.step.branches:
        if condition.evaluate(execution.context):
            return execution.finish(Outcome("completed", output={"chosen": then}))
    return execution.finish(Outcome("completed", output={"chosen": None}))
