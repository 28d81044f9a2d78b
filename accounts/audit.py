"""The trail of who did what."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from accounts.models import AuditEntry, Member, Organization

_part_of: ContextVar[Mapping[str, Any]] = ContextVar("part_of")


@contextmanager
def part_of(**what: Any) -> Iterator[None]:
    """Lines that are added meanwhile say this beside their own: of what larger act they are a part."""
    token = _part_of.set(what)
    try:
        yield
    finally:
        _part_of.reset(token)


def record(
    *, organization: Organization, actor: Member | None, action: str, target: str, data: Mapping[str, Any]
) -> AuditEntry:
    """Add a line inside the transaction of what it tells, as its last statement. `actor` None: a command or a clock."""
    return AuditEntry.objects.create(
        organization=organization, actor=actor, action=action, target=target, data={**data, **_part_of.get({})}
    )
