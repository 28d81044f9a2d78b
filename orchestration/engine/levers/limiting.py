"""A person says how many a limit lets in, whatever its definitions say."""

from collections.abc import Iterator

from django.db import transaction

from accounts import audit
from accounts.models import Member
from orchestration.engine.connection import rows
from orchestration.engine.hints import hint_after_commit, hints
from orchestration.exceptions import InvalidInput
from orchestration.models import Limit

MOST = 1_000_000_000


@transaction.atomic
def change(limit: Limit, *, by: Member | None, reason: str, most: int | None, span: float | None = None) -> None:
    """`most` and `span` (seconds, of a rate) stand until they are changed; None: as the definitions say.

    Raises InvalidInput.
    """
    if errors := list(_errors(limit, most, span)):
        raise InvalidInput(errors)
    rows("select engine_limit_v1(%s, %s, %s, %s)", [limit.pk, most, span, by.pk if by else None])
    hint_after_commit({hints.ANSWERS: 1}, [])
    audit.record(
        organization=limit.organization,
        actor=by,
        action="limit.change",
        target=limit.public_id,
        data={
            "key": limit.key,
            "kind": limit.kind,
            "from": {"max": limit.max_override, "per": limit.per_override},
            "to": {"max": most, "per": span},
            "reason": reason,
        },
    )


def _errors(limit: Limit, most: int | None, span: float | None) -> Iterator[dict[str, str]]:
    if most is not None and not 1 <= most <= MOST:
        yield {"pointer": "/max", "message": "At least 1."}
    if span is not None and limit.per is None:
        yield {"pointer": "/per", "message": "This limit counts what is at work at once, not in a time."}
    elif span is not None and not 0.001 <= span <= MOST:
        yield {"pointer": "/per", "message": "A time, in seconds."}
