"""Events from outside, on their way to the steps that wait for them."""

import hashlib
from typing import Any

from django.db import transaction

from accounts.models import Member, Organization
from accounts.public_ids import new_public_id
from orchestration.engine import failpoints
from orchestration.engine.connection import rows, value
from orchestration.engine.hints import hints
from orchestration.engine.outcomes import INLINE_BYTES, dump, store_payloads
from orchestration.models import OutsideEvent

DELIVER = "select * from engine_deliver_v1(%s, %s, %s, %s, %s::jsonb, %s, %s, %s)"
HEARD = """
with recursive taken as (  -- over by a fork, as often as it may be
    select s.event_id, s.inherited_run, s.inherited_key from orchestration_step s where s.run_id = %s and s.key = %s
    union all
    select s.event_id, s.inherited_run, s.inherited_key
    from taken t join orchestration_step s on s.run_id = t.inherited_run and s.key = t.inherited_key
)
select event_id from taken where event_id is not null
"""
LARGEST_MATCH = 500


def deliver(
    *, organization: Organization, name: str, key: str, data: Any, sender_id: str | None, by: Member | None
) -> tuple[OutsideEvent, bool]:
    """The event, and whether it is new: under the same `sender_id` it counts once. Raises NotRecordable."""
    text = dump(data)
    with transaction.atomic():
        given = [new_public_id("evt"), organization.pk, name, key, *kept(data, text), sender_id, by and by.pk]
        ((public_id, is_new),) = rows(DELIVER, given)
    failpoints.reach("delivered")
    if is_new:
        hints.answer()
    return OutsideEvent.objects.get(public_id=public_id), is_new


def heard_by(run: int, key: int) -> dict[str, Any] | None:
    """The event or the message that ended this wait, as expressions read it; None if none did."""
    found = [pk for (pk,) in rows(HEARD, [run, key])]
    event = OutsideEvent.objects.filter(pk__in=found).defer("data", "reply").select_related("by__user").first()
    if event is None:
        return None
    by = event.by.name if event.by else None
    at = event.received_at.isoformat()
    return {"name": event.name, "key": event.key, "at": at, "by": by, "id": event.public_id}


def kept(data: Any, text: str) -> tuple[str | None, bytes | None]:
    """Its text, or the digest of the row in which it lies now; `text` is its JSON."""
    if data is None or len(text) <= INLINE_BYTES:
        return None if data is None else text, None
    digest = hashlib.sha256(text.encode()).digest()
    store_payloads([(digest, text)])
    return None, digest


def match() -> int:
    """Bring new events to the waits that are open; how many. The sweep then moves their steps."""
    found = int(value("select engine_match_v1(%s)", [LARGEST_MATCH]))
    failpoints.reach("matched")
    return found
