"""The row that computes a run's output: considered last, whatever became of the steps."""

from typing import TYPE_CHECKING

from orchestration.engine.outcomes import Outcome

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def begin(execution: "Execution") -> Outcome:
    template = execution.plan.output
    if execution.claim.failed or template is None:
        return Outcome("skipped")
    return Outcome("completed", output=template.evaluate(execution.context))
