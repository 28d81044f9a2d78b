"""Limits: slots and units that steps ask for right before they call, and lines for those who find a limit full."""

import json
from typing import TYPE_CHECKING, Any

import structlog

from orchestration.engine import failpoints
from orchestration.engine.connection import decoded, returned_connection, rows, value
from orchestration.engine.outcomes import Outcome, failed
from orchestration.engine.plans import Limit
from orchestration.language.expressions import ExpressionError, as_text

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution

log = structlog.get_logger(__name__)
LONGEST_KEY = 200
ACQUIRE = "select engine_acquire_v1(%s, %s, %s, %s, %s)"
# Each move marks what its step had in its own transaction, so in one snapshot nothing is left and not marked. To mark
# what is held after all does no harm: who has the limit looks again.
STIR_LEFT = """
with slots as (
    update orchestration_limitslot l set stirred_at = clock_timestamp() from (
        select h.limit_id, h.run_id, h.key from orchestration_limitslot h where h.stirred_at is null and not case
            when h.key = 0 then exists (select from orchestration_run r where r.id = h.run_id and r.ended_at is null)
            else exists (
                select from orchestration_step s where s.run_id = h.run_id and s.key = h.key and s.fence = h.fence
                and (s.status = 'running' or s.status = 'waiting' and s.waits_for = 'child')) end
        for update skip locked) g
    where l.limit_id = g.limit_id and l.run_id = g.run_id and l.key = g.key returning l.limit_id
), places as (
    update orchestration_limitqueue q set stirred_at = clock_timestamp() from (
        select p.id from orchestration_limitqueue p where p.stirred_at is null and not exists (
            select from orchestration_step s where s.run_id = p.run_id and s.key = p.key
            and (s.status in ('ready', 'running') or s.status = 'waiting' and s.waits_for = 'limit'))
        for update skip locked) g
    where q.id = g.id returning q.limit_id
)
select limit_id, count(*) from (select limit_id from slots union all select limit_id from places) l group by limit_id
"""


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


def stir_left() -> int:
    """Mark what those had who are gone, and which was not marked as they went: the next sweep frees it. How many.

    No path of the engine leaves such; a person's hand may, or a backup that was played back in part.
    """
    left = dict(rows(STIR_LEFT))
    if left:
        log.error("limits_left_behind", limits=left)
    return sum(left.values())


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
