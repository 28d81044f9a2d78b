"""The row that computes a run's output: considered last, whatever became of the steps."""

from typing import TYPE_CHECKING

from orchestration.engine.checks import listed
from orchestration.engine.outcomes import Outcome, failed

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def begin(execution: "Execution") -> Outcome:
    template = execution.plan.output
    if execution.claim.failed or template is None:
        return Outcome("skipped")
    output = template.evaluate(execution.context)
    if errors := execution.plan.output_errors(output):
        return failed("permanent", f"The run's output is not what its schema says: {listed(errors)}")
    return Outcome("completed", output=output)
