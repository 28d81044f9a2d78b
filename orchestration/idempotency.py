"""A run is started once for each `Idempotency-Key` of a member, however often the request arrives."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import rfc8785
from django.db import transaction

from accounts.clock import database_clock
from accounts.json_values import canonical
from accounts.models import Member
from orchestration.engine.starts import Begun, BegunTogether, begin, begin_many
from orchestration.exceptions import InvalidInput, KeyReused
from orchestration.models import Run, StartKey

LONGEST_KEY = 200
KEPT_FOR = timedelta(days=1)


def start_once(*, definition: str, given: Any, by: Member, key: str, version: int | None = None) -> Run:
    """The run of `begin_once`. Raises as it does."""
    return begin_once(definition=definition, given=given, by=by, key=key, version=version).run


def begin_once(*, definition: str, given: Any, by: Member, key: str, version: int | None = None) -> Begun:
    """Start a run; with a `key` used within a day, give what it began. Raises KeyReused, and what `begin` does."""
    start = partial(begin, organization=by.organization, definition=definition, given=given, by=by, version=version)
    asked = {"definition": definition, "input": given} | ({"version": version} if version else {})
    return Begun(*_once(key, by, asked, Begun._fields, start))


def begin_many_once(*, definition: str, inputs: Sequence[Any], by: Member, key: str) -> BegunTogether:
    """As `begin_once`, for many. Raises as `begin_many` does."""
    start = partial(begin_many, organization=by.organization, definition=definition, inputs=inputs, by=by)
    return BegunTogether(*_once(key, by, {"definition": definition, "inputs": inputs}, BegunTogether._fields, start))


def _once(
    key: str, by: Member, asked: dict[str, Any], fields: Sequence[str], start: Callable[[], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """`fields` of the key's row keep what `start` gave the first time."""
    if not key:
        return start()
    with transaction.atomic():
        kept = _kept(key, by, asked)
        if getattr(kept, fields[0]) is None:
            for field, value in zip(fields, start(), strict=True):
                setattr(kept, field, value)
            kept.save(update_fields=fields)
        return tuple(getattr(kept, field) for field in fields)


def _kept(key: str, by: Member, asked: dict[str, Any]) -> StartKey:
    """The key's row, inserted before the run, in its transaction: the second of two at once waits for the first, then
    finds its run, or, if that was refused, starts its own."""
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise InvalidInput([{"pointer": "/Idempotency-Key", "message": f"Up to {LONGEST_KEY} printable signs."}])
    try:
        digest = hashlib.sha256(canonical(asked)).hexdigest()
    except rfc8785.CanonicalizationError as exc:
        raise InvalidInput([{"pointer": "/input", "message": f"With an Idempotency-Key: {exc}"}]) from exc
    StartKey.objects.filter(member=by, key=key, created_at__lt=database_clock() - KEPT_FOR).delete()
    kept, is_new = StartKey.objects.select_related("run").get_or_create(member=by, key=key, defaults={"digest": digest})
    if not is_new and kept.digest != digest:
        raise KeyReused
    return kept
