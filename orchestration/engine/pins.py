"""A pinned run is kept, with its family, however old it gets."""

from django.db import transaction

from accounts import audit
from accounts.clock import ClockTimestamp
from accounts.models import Member
from orchestration.engine.connection import value
from orchestration.exceptions import NotPinned, Pinned
from orchestration.models import Run


def pin(run: Run, *, by: Member | None, reason: str) -> None:
    """Raises Pinned if it is already."""
    with transaction.atomic():
        value("select pg_advisory_xact_lock_shared(hashtext('engine_pins'))::text")  # retention looks at whole families
        if not Run.objects.filter(pk=run.pk, pinned_at=None).update(pinned_at=ClockTimestamp()):
            raise Pinned
        _record(run, by, "run.pin", reason)


def unpin(run: Run, *, by: Member | None, reason: str) -> None:
    """Raises NotPinned."""
    with transaction.atomic():
        if not Run.objects.filter(pk=run.pk, pinned_at__isnull=False).update(pinned_at=None):
            raise NotPinned
        _record(run, by, "run.unpin", reason)


def _record(run: Run, by: Member | None, action: str, reason: str) -> None:
    data = {"reason": reason}
    audit.record(organization=run.organization, actor=by, action=action, target=run.public_id, data=data)
