"""The step again and again: its row is the head of one row after the other, a pass each."""

from typing import TYPE_CHECKING

from orchestration.engine.heads import gathered, lay
from orchestration.engine.outcomes import Outcome, failed

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def begin(execution: "Execution") -> Outcome:
    return _lay_pass(execution, 0)


def gather(execution: "Execution") -> Outcome:
    (last,) = gathered(execution, last=1)
    passed, repeat = int(execution.claim.more["items"]), execution.step.repeat
    if last.is_bad:
        error = last.error or {"class": "permanent", "message": f"Its pass was {last.status}."}
        return failed(error["class"], error["message"])
    if execution.is_enough(last.output, index=passed - 1):
        return execution.finish(Outcome("completed", output=last.output))
    if passed >= repeat["max"]:
        return failed(
            "permanent", f"Its condition was not true after {passed:,} {'pass' if passed == 1 else 'passes'}."
        )
    return _lay_pass(execution, passed)


def _lay_pass(execution: "Execution", number: int) -> Outcome:
    """`index` of a pass is its item's, where there is a map around."""
    claim, step = execution.claim, execution.step
    index = number if claim.index is None else claim.index
    after = step.repeat["every"] if number else None
    return lay(execution, [{}], step.kind, **{"index": index, "pass": number, "bearable": 0, "after": after})
