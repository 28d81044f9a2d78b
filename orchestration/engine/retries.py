"""Whether another try follows one that failed, and when."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings

from orchestration.engine.connection import returned_connection
from orchestration.engine.outcomes import Claim, Outcome, failed
from orchestration.engine.plans import StepPlan, agent_of, plan_of

LONGEST_PAUSE_SECONDS = 2.0
# Of a call in which our own database failed, whatever the step says.
DATABASE_LOST = {"attempts": 10, "backoff": 0.5, "factor": 2, "max": 60, "jitter": 0.2}


def pause_before_handing_back(claim: Claim) -> float:
    """Longer with each claim of the step that was no try."""
    return float(min(0.05 * 2 ** min(claim.fence - claim.attempt, 10), LONGEST_PAUSE_SECONDS))


def try_again(claim: Claim, retry: Mapping[str, Any] | None, outcome: Outcome, retry_after: float | None) -> Outcome:
    seconds = retry_delay(retry, claim.attempt)
    if seconds is None:
        return outcome
    asked = retry_after if retry_after is not None and math.isfinite(retry_after) else 0.0
    wait = {"waits_for": "retry", "wake": max(seconds, min(asked, settings.LONGEST_RETRY_AFTER_SECONDS))}
    return Outcome("waiting", input=outcome.input, fields={**outcome.fields, **wait})


def timed_out(claim: Claim, message: str, *, given: Any = None) -> Outcome:
    """A call that got no answer in time: tried again as `retry` says; uncertain if it may not be repeated."""
    return _broken_off(claim, failed("timeout", message, given=given), None)


def database_lost(claim: Claim, message: str, *, given: Any = None) -> Outcome:
    """A call in which our own database failed: tried again as above; uncertain if it may not be repeated."""
    return _broken_off(claim, failed("temporary", f"The database failed: {message}", given=given), DATABASE_LOST)


def _broken_off(claim: Claim, outcome: Outcome, retry: Mapping[str, Any] | None) -> Outcome:
    """`retry`: in place of the step's own."""
    if claim.kind != "agent" or claim.agent_version is None:
        return outcome
    with returned_connection():
        step = plan_of(claim.definition_version).steps[claim.position]
        repeatable = agent_of(claim.agent_version).repeatable if step.repeatable is None else step.repeatable
    if not repeatable:
        reason = outcome.fields["error"]["message"]
        return replace(outcome, becomes="uncertain", fields={**outcome.fields, "note": {"reason": reason}})
    return try_again(claim, retry or step.retry, outcome, None)


def call_seconds(step: StepPlan) -> float:
    return step.timeout or settings.AGENT_CALL_TIMEOUT_SECONDS


def retry_delay(retry: Mapping[str, Any] | None, attempt: int) -> float | None:
    """Seconds until the next try, None if `attempt` was the last. Jitter spreads by its share to both sides."""
    if retry is None or attempt >= retry["attempts"]:
        return None
    plain = min(retry["max"], retry["backoff"] * retry["factor"] ** (attempt - 1))
    return float(plain * (1 + retry["jitter"] * random.uniform(-1, 1)))  # noqa: S311  spreads load, keeps no secret
