"""Limits: slots and units that steps ask for right before they call, and lines for those who find a limit full."""

from orchestration.engine.connection import value


def tend() -> int:
    """Look after limits whose steps moved, and call up who is next; how many were."""
    return int(value("select engine_stirred_v1()"))
