"""Who runs which kind of agent. Apps fill the registry in their `apps.py`."""

from collections.abc import Callable, Mapping
from typing import Any

from agents.calls import Call, Result
from agents.exceptions import Permanent
from agents.schemas import Finding

Runner = Callable[[Call], Result]
Check = Callable[[Mapping[str, Any]], list[Finding]]

_runners: dict[str, Runner] = {}
_checks: dict[str, Check] = {}


def register(kind: str, runner: Runner, *, check: Check | None = None) -> None:
    """`check` looks at a configuration when a version is saved; its pointers are relative to the configuration."""
    _runners[kind] = runner
    if check is not None:
        _checks[kind] = check


def runner_for(kind: str) -> Runner:
    """Raises Permanent for a kind that no installed app runs."""
    try:
        return _runners[kind]
    except KeyError:
        raise Permanent(f"No runner for agents of kind {kind!r}; known: {', '.join(kinds())}.") from None


def kinds() -> list[str]:
    return sorted(_runners)


def configuration_findings(kind: str, configuration: Mapping[str, Any]) -> list[Finding]:
    return _checks[kind](configuration) if kind in _checks else []
