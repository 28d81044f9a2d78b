"""Lets runs begin whose definition limits its starts: at once, in their turn, or in the place of an older one."""

import contextlib

from django.db import transaction

from orchestration.engine import answers, failpoints
from orchestration.engine.connection import rows
from orchestration.engine.hints import hint_after_commit
from orchestration.engine.settling import each
from orchestration.exceptions import RunEnded
from orchestration.models import LimitPlace, Run

ADMIT = "select queue, ready from engine_admit_v1(%s, %s)"
LARGEST = 200


def give_turns() -> int:
    """Let those begin whose turn has come; how many."""
    found = [run for (run,) in rows("select engine_turns_v1(%s)", [LARGEST])]
    return each(Run.objects.filter(pk__in=found), _give_turn)


def _give_turn(run: int) -> None:
    with transaction.atomic():
        hint_after_commit(dict(rows(ADMIT, [run, False])), [run])


def evict() -> int:
    """Cancel runs in whose place others are to begin, and those that were refused; how many."""
    return each(LimitPlace.objects.filter(woken_at=None, evicts__isnull=False), _evict)


def _evict(key: int) -> None:
    place = LimitPlace.objects.get(pk=key)
    failpoints.reach("evicted")
    is_refused = place.evicts == place.run_id
    reason = "So many run already, and one more is refused." if is_refused else "A newer run begins in its place."
    for run in Run.objects.filter(pk=place.evicts or 0, ended_at=None):
        with contextlib.suppress(RunEnded):
            answers.cancel(run, by=None, reason=reason)
    LimitPlace.objects.filter(pk=key, evicts=place.evicts).update(evicts=None)
