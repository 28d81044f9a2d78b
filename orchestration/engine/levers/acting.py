from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import Member
from orchestration.engine.connection import value
from orchestration.engine.hints import hint_after_commit
from orchestration.exceptions import Refused
from orchestration.models import Run

# What a lever's function gives besides a run's status, to be read after "The run".
STATES = {
    "undoing": "is taking back what it did",
    "undone": "has taken back what it did; start another instead",
    "told": "has ended, and the run that started it goes by that; retry the step there",
    "archived": "is archived; restore it first",
    "moving": "has moved on meanwhile, or is at work",
    "unlimited": "has no budget of its own",
    "full": "does not find room again among those that its definition lets go on at once",
    "begun": "has let all items of this step go",
    "moved": "has moved on: a step that was named has not failed",
}


def note_of(by: Member | None, reason: str) -> dict[str, Any]:
    """Who, and why, as events tell it."""
    return {"by": by.name if by else None, "reason": reason}


def act(
    run: Run,
    function: str,
    given: Sequence[Any],
    *,
    by: Member | None,
    action: str,
    data: Mapping[str, Any],
    otherwise: str,
) -> None:
    """Call a lever's function in a transaction with its line in the audit, and wake the workers.

    Raises Refused where the run's state does not allow it; `otherwise` says which would.
    """
    with transaction.atomic():
        state = value(function, [run.pk, *given])
        if state is not None:
            raise Refused(f"The run {STATES.get(state, f'is {state}')}; {otherwise}.")
        audit.record(organization=run.organization, actor=by, action=action, target=run.public_id, data=data)
        hint_after_commit(dict.fromkeys(settings.WORKER_QUEUES, 1), [run.pk])
