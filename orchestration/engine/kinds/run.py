"""A step that starts a run of a saved definition, whose output is the step's."""

from typing import TYPE_CHECKING

from orchestration.engine import slots
from orchestration.engine.launches import launch
from orchestration.engine.outcomes import Outcome

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def begin(execution: "Execution") -> Outcome:
    step, wanted = execution.step, execution.step.run or {}
    given = step.given.evaluate(execution.context) if step.given else {}
    if (instead := slots.ask(execution, given)) is not None:
        return instead
    stays = wanted.get("if_parent_ends") == "leave"
    return launch(execution, wanted["definition"], given, given=given, version=wanted.get("version"), stays=stays)
