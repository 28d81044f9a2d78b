"""What the compiler knows of a key: how it is checked, what the plan gets of it, and which steps it reads.

A part of the plan that an earlier release did not know stands there only where the key is used: so an upgrade changes
no plan of a text that there was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .draft import Draft
from .references import steps_read


def _unchecked(*_: Any) -> None:
    pass


def _no_part(*_: Any) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class TopKey:
    """A key of a definition."""

    check: Callable[[Draft], None] = _unchecked
    plan: Callable[[Draft], dict[str, Any]] = _no_part


@dataclass(frozen=True, slots=True)
class StepKey:
    """A key of a step. `check` and `plan` are given the step's name, `reads` the key's value."""

    check: Callable[[Draft, str], None] = _unchecked
    plan: Callable[[Draft, str], dict[str, Any]] = _no_part
    reads: Callable[[Any], frozenset[str]] = steps_read
