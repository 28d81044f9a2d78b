"""Whether another try follows one that failed, and when."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings

from orchestration.engine.connection import returned_connection, value
from orchestration.engine.outcomes import UNDO, Claim, Outcome, failed
from orchestration.engine.plans import StepPlan, agent_of, plan_of
from orchestration.engine.undoing import unknown

LONGEST_PAUSE_SECONDS = 2.0
TRIED_AGAIN = ("temporary", "timeout")  # by `retry`, if it says nothing of the class
AGE = """
select extract(epoch from clock_timestamp() - coalesce(first_at, started_at)) from orchestration_step
where run_id = %s and key = %s
"""
# Of a call in which our own database failed, whatever the step says.
DATABASE_LOST = {"attempts": 10, "backoff": 0.5, "factor": 2, "max": 60, "jitter": 0.2}


def pause_before_handing_back(claim: Claim) -> float:
    """Longer with each claim of the step that was no try."""
    return float(min(0.05 * 2 ** min(claim.fence - claim.attempt, 10), LONGEST_PAUSE_SECONDS))


def try_again(
    claim: Claim, retry: Mapping[str, Any] | None, outcome: Outcome, retry_after: float | None = None
) -> Outcome:
    """A failure, or the wait for the next try, as `retry` says for its class. What the other side asks for in
    `retry_after` stands in place of our own pause."""
    rule = rule_for(retry, outcome.fields["error"]["class"])
    seconds = retry_delay(rule, claim.attempt)
    if seconds is None:
        return outcome
    if retry_after is not None and math.isfinite(retry_after) and retry_after >= 0:
        seconds = min(retry_after, settings.LONGEST_RETRY_AFTER_SECONDS)
    if retry and "total" in retry and since_first_try(claim) + seconds > retry["total"]:
        return outcome
    return Outcome("waiting", input=outcome.input, fields={**outcome.fields, "waits_for": "retry", "wake": seconds})


def rule_for(retry: Mapping[str, Any] | None, error_class: str) -> Mapping[str, Any] | None:
    """What `retry` says of a class of error; None: it is not tried again."""
    rules: Mapping[str, Mapping[str, Any]] = (retry or {}).get("on", {})
    return rules.get(error_class, retry if error_class in TRIED_AGAIN else None)


def since_first_try(claim: Claim) -> float:
    """Seconds since the step was first begun."""
    with returned_connection():
        return float(value(AGE, [claim.run, claim.key]))


def timed_out(claim: Claim, message: str, *, given: Any = None) -> Outcome:
    """A call that got no answer in time: tried again as `retry` says; uncertain if it may not be repeated."""
    return _broken_off(claim, failed("timeout", message, given=given), None)


def database_lost(claim: Claim, message: str, *, given: Any = None) -> Outcome:
    """A call in which our own database failed: tried again as above; uncertain if it may not be repeated."""
    return _broken_off(claim, failed("temporary", f"The database failed: {message}", given=given), DATABASE_LOST)


def _broken_off(claim: Claim, outcome: Outcome, retry: Mapping[str, Any] | None) -> Outcome:
    """`retry`: in place of the step's own."""
    if claim.kind not in ("agent", UNDO) or claim.agent_version is None:
        return outcome
    step = plan_of(claim.definition_version).step_of(claim.position, claim.kind)
    repeatable = agent_of(claim.agent_version).repeatable if step.repeatable is None else step.repeatable
    outcome = replace(outcome, fields={**outcome.fields, **unknown(step, outcome.fields["error"]["message"])})
    if not repeatable:
        reason = outcome.fields["error"]["message"]
        return replace(outcome, becomes="uncertain", fields={**outcome.fields, "note": {"reason": reason}})
    return try_again(claim, retry or step.retry, outcome)


def call_seconds(step: StepPlan) -> float:
    return step.timeout or settings.AGENT_CALL_TIMEOUT_SECONDS


def retry_delay(retry: Mapping[str, Any] | None, attempt: int) -> float | None:
    """Seconds until the next try, None if `attempt` was the last. Jitter spreads by its share to both sides."""
    if retry is None or attempt >= retry["attempts"]:
        return None
    growth = retry["backoff"] * retry["factor"] ** (attempt - 1) + retry.get("add", 0.0) * (attempt - 1)
    plain = min(retry["max"], growth)
    return float(plain * (1 + retry["jitter"] * random.uniform(-1, 1)))  # noqa: S311  spreads load, keeps no secret
