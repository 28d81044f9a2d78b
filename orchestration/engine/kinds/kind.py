from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.engine.outcomes import Outcome

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


@dataclass(frozen=True, slots=True)
class Kind:
    """`begin` may raise ExpressionError and TypingError, which fail the step as `expression`."""

    begin: "Callable[[Execution], Outcome]"
