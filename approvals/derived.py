"""What follows from a payload, as its asker works it out: approvals knows no expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from approvals.models import Request


class Derivation(Protocol):
    """`patterns`: pointers to the places that follow, with * for any one key or index."""

    patterns: Sequence[str]

    def applied(self, payload: Any) -> Any:
        """A copy with those places as they follow from the rest. Raises InvalidAnswer."""


_askers: list[str] = []


def register(asker: str) -> None:
    """Called from an app's `ready()`, with the dotted name of a function that gives the Derivation of a request, or
    None. By name, as apps are read before their models."""
    if asker not in _askers:
        _askers.append(asker)


def derivation_of(row: Request) -> Derivation | None:
    """None of what nobody may edit: there the asker has worked it out, and nothing changes it."""
    if not row.editable:
        return None
    found: list[Callable[[Request], Derivation | None]] = [import_string(name) for name in _askers]
    return next((derivation for asker in found if (derivation := asker(row)) is not None), None)
