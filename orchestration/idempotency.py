"""A run is started once for each `Idempotency-Key` of a member, however often the request arrives."""

import hashlib
from datetime import timedelta
from typing import Any

import rfc8785
from django.db import transaction

from accounts.clock import database_clock
from accounts.json_values import canonical
from accounts.models import Member
from orchestration.engine.starts import start
from orchestration.exceptions import InvalidInput, KeyReused
from orchestration.models import Run, StartKey

LONGEST_KEY = 200
KEPT_FOR = timedelta(days=1)


def start_once(*, definition: str, given: Any, by: Member, key: str) -> Run:
    """Start a run; with a `key` used within a day, give the run that it began. Raises KeyReused, and what `start` does.

    The key is inserted before the run, in its transaction: the second of two at once waits for the first, then finds
    its run, or, if that was refused, starts its own.
    """
    if not key:
        return start(organization=by.organization, definition=definition, given=given, by=by)
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise InvalidInput([{"pointer": "/Idempotency-Key", "message": f"Up to {LONGEST_KEY} printable signs."}])
    digest = asked(definition, given)
    with transaction.atomic():
        StartKey.objects.filter(member=by, key=key, created_at__lt=database_clock() - KEPT_FOR).delete()
        kept, is_new = StartKey.objects.select_related("run").get_or_create(
            member=by, key=key, defaults={"digest": digest}
        )
        if not is_new and kept.digest != digest:
            raise KeyReused
        if kept.run is not None:
            return kept.run
        run = start(organization=by.organization, definition=definition, given=given, by=by)
        StartKey.objects.filter(pk=kept.pk).update(run=run)
    return run


def asked(definition: str, given: Any) -> str:
    try:
        text = canonical({"definition": definition, "input": given})
    except rfc8785.CanonicalizationError as exc:
        raise InvalidInput([{"pointer": "/input", "message": f"With an Idempotency-Key: {exc}"}]) from exc
    return hashlib.sha256(text).hexdigest()
