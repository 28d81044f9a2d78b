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


def try_again(claim: Claim, step: StepPlan, outcome: Outcome, retry_after: float | None) -> Outcome:
    seconds = retry_delay(step.retry, claim.attempt)
    if seconds is None:
        return outcome
    asked = retry_after if retry_after is not None and math.isfinite(retry_after) else 0.0
    wait = {"waits_for": "retry", "wake": max(seconds, min(asked, settings.LONGEST_RETRY_AFTER_SECONDS))}
    return Outcome("waiting", input=outcome.input, fields={**outcome.fields, **wait})


def timed_out(claim: Claim, message: str, *, given: Any = None) -> Outcome:
    """A call that got no answer in time: tried again as `retry` says; uncertain if it may not be repeated."""
    outcome = failed("timeout", message, given=given)
    if claim.kind != "agent" or claim.agent_version is None:
        return outcome
    with returned_connection():
        step = plan_of(claim.definition_version).steps[claim.position]
        repeatable = agent_of(claim.agent_version).repeatable if step.repeatable is None else step.repeatable
    if not repeatable:
        return replace(outcome, becomes="uncertain", fields={**outcome.fields, "note": {"reason": message}})
    return try_again(claim, step, outcome, None)


def call_seconds(step: StepPlan) -> float:
    return step.timeout or settings.AGENT_CALL_TIMEOUT_SECONDS


def retry_delay(retry: Mapping[str, Any] | None, attempt: int) -> float | None:
    """Seconds until the next try, None if `attempt` was the last. Jitter spreads by its share to both sides."""
    if retry is None or attempt >= retry["attempts"]:
        return None
    plain = min(retry["max"], retry["backoff"] * retry["factor"] ** (attempt - 1))
    return float(plain * (1 + retry["jitter"] * random.uniform(-1, 1)))  # noqa: S311  spreads load, keeps no secret
