"""Limits: slots and units that steps ask for right before they call, and lines for those who find a limit full."""

import json
from typing import TYPE_CHECKING, Any

from orchestration.engine import failpoints
from orchestration.engine.connection import decoded, returned_connection, value
from orchestration.engine.outcomes import Outcome, failed
from orchestration.engine.plans import Limit
from orchestration.language.expressions import ExpressionError, as_text

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution

LONGEST_KEY = 200
ACQUIRE = "select engine_acquire_v1(%s, %s, %s, %s, %s)"


def ask(execution: "Execution", given: Any) -> Outcome | None:
    """All that the step's limits say, at once; None: it has it, and may call. Else what becomes of it."""
    claim = execution.claim
    if "limited" not in claim.more:  # only what such a row has is free again when it moves
        return None
    # Of two that have the same key by now the smaller counts.
    asked = [_asked(execution, limit) for limit in sorted(execution.step.limits, key=lambda limit: -limit.most)]
    wanted = list({(one["kind"], one["key"]): one for one in asked}.values())
    with returned_connection():
        answer = decoded(value(ACQUIRE, [claim.organization, *claim.place, json.dumps(wanted)]))
    if answer is None:
        failpoints.reach("acquired")
        return None
    if "lost" in answer:
        return Outcome("ready", fields={"unlost": True})
    if "most" in answer:
        message = f"It counts for more units than may be had at once under {answer['key']}: {answer['most']:,}."
        return failed("permanent", message, given=given)
    return Outcome("waiting", input=given, fields={"waits_for": "limit", "note": answer})


def tend() -> int:
    """Look after limits whose steps moved, and call up who is next; how many were."""
    return int(value("select engine_stirred_v1()"))


def _asked(execution: "Execution", limit: Limit) -> dict[str, Any]:
    key, units = _key(execution, limit), _units(execution, limit)
    return {"kind": limit.kind, "key": key, "max": limit.most, "per": limit.per, "units": units}


def _key(execution: "Execution", limit: Limit) -> str:
    key = as_text(limit.key.evaluate(execution.context))
    if not key or len(key) > LONGEST_KEY or "\0" in key:
        raise ExpressionError(f"the key of a limit has 1 to {LONGEST_KEY} characters, and this is {key[:100]!r}")
    return key


def _units(execution: "Execution", limit: Limit) -> int:
    units = limit.units.evaluate(execution.context)
    if isinstance(units, bool) or not isinstance(units, int | float) or not 1 <= units < 2**31 or units % 1:
        raise ExpressionError(f"`units` gives {as_text(units)[:100]!r}, which is no whole number from 1")
    return int(units)
