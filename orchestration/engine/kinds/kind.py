from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.outcomes import Outcome

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


@dataclass(frozen=True, slots=True)
class Kind:
    """What may raise ExpressionError and TypingError, which fail the step as `expression`.

    `gather`: of a head, when what it laid has ended.
    """

    begin: "Callable[[Execution], Outcome]"
    gather: "Callable[[Execution], Outcome] | None" = None
