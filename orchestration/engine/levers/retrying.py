"""Tries failed steps again, and keeps what the rest of the run has done."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from accounts.models import Member
from orchestration.engine.levers.acting import act, note_of
from orchestration.engine.outcomes import Item, store_payloads
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import Run, Step

RETRY = "select engine_retry_v1(%s, %s, %s::jsonb, %s::jsonb)"


def retry(run: Run, *, by: Member | None, reason: str, steps: Sequence[str] | None = None) -> None:
    """The failed steps of these names, or all, with what was skipped or failed behind them, in a new round. A run that
    failed goes on. Raises Refused, and InvalidInput for a name that is none of a failed step."""
    failed = failed_steps(run)
    unknown = [] if steps is None else [name for name in steps if name not in failed]
    if unknown:
        raise InvalidInput([{"pointer": "/steps", "message": f"No step {name!r} has failed."} for name in unknown])
    if not failed:
        raise Refused("No step of the run has failed.")
    names = list(failed) if steps is None else list(steps)
    again(run, [failed[name] for name in names], by=by, reason=reason, action="run.retry", data={"steps": names})


def again(
    run: Run,
    steps: Sequence[Step],
    *,
    by: Member | None,
    reason: str,
    action: str,
    data: Mapping[str, Any],
    given: Mapping[int, Item] | None = None,
) -> None:
    """`given`: positions whose new row is completed by hand with this item, at once."""
    note = note_of(by, reason)
    if payloads := [payload for item in (given or {}).values() for payload in item.payloads]:
        store_payloads(payloads)
    items = ",".join(f'"{position}":{{{item.text}}}' for position, item in (given or {}).items())
    act(
        run,
        RETRY,
        [[step.position for step in steps], f"{{{items}}}", json.dumps(note)],
        by=by,
        action=action,
        data={**note, **data},
        otherwise="only steps that failed, of a run that goes on or failed, can be tried again",
    )


def failed_steps(run: Run) -> dict[str, Step]:
    """Those whose newest round failed, by their names; "" is the run's own output."""
    rows = run.steps.filter(head=None, undoes=None).exclude(kind="start").order_by("position", "-key")
    newest = rows.distinct("position")
    return {step.name: step for step in newest if step.status == Step.Status.FAILED}
