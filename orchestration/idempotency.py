"""A run is started once for each `Idempotency-Key` of a member, however often the request arrives."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import rfc8785
from django.db import transaction

from accounts.clock import database_clock
from accounts.json_values import canonical
from accounts.models import Member
from orchestration.engine.starts import start, start_many
from orchestration.exceptions import InvalidInput, KeyReused
from orchestration.models import Run, StartKey

LONGEST_KEY = 200
KEPT_FOR = timedelta(days=1)


def start_once(*, definition: str, given: Any, by: Member, key: str) -> Run:
    """Start a run; with a `key` used within a day, give the run it began. Raises KeyReused, and what `start` does."""

    def begin() -> Run:
        return start(organization=by.organization, definition=definition, given=given, by=by)

    if not key:
        return begin()
    with transaction.atomic():
        kept = _kept(key, by, {"definition": definition, "input": given})
        if kept.run is None:
            kept.run = begin()
            kept.save(update_fields=["run"])
        return kept.run


def start_many_once(*, definition: str, inputs: Sequence[Any], by: Member, key: str) -> list[int]:
    """As `start_once`, for many: ids of runs, in the order of the inputs. Raises as `start_many` does."""

    def begin() -> list[int]:
        return start_many(organization=by.organization, definition=definition, inputs=inputs, by=by)

    if not key:
        return begin()
    with transaction.atomic():
        kept = _kept(key, by, {"definition": definition, "inputs": inputs})
        if kept.runs is None:
            kept.runs = begin()
            kept.save(update_fields=["runs"])
        return kept.runs


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
