"""The trail of who did what."""

from collections.abc import Mapping
from typing import Any

from accounts.models import AuditEntry, Member, Organization


def record(
    *, organization: Organization, actor: Member | None, action: str, target: str, data: Mapping[str, Any]
) -> AuditEntry:
    """Add a line inside the transaction of what it tells, as its last statement. `actor` None: a command or a clock."""
    return AuditEntry.objects.create(
        organization=organization, actor=actor, action=action, target=target, data=dict(data)
    )
