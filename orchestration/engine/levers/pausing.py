"""Pauses a run and lets it go on, with all that it started."""

import json
from collections.abc import Mapping
from typing import Any

from accounts.models import Member
from orchestration.engine.connection import rows
from orchestration.engine.levers.acting import act, note_of
from orchestration.exceptions import Refused
from orchestration.models import Budget, Run

PAUSE = "select engine_pause_v1(%s, %s::jsonb)"
RESUME = "select engine_resume_v1(%s, %s::jsonb)"
BELOW = """
with recursive tree as (
    select r.id from orchestration_run r where r.parent_run_id = %s and r.ended_at is null
    union all
    select c.id from tree t join orchestration_run c on c.parent_run_id = t.id where c.ended_at is null
)
select id from tree order by id
"""


def pause(run: Run, *, by: Member | None, reason: str) -> None:
    """Nothing more of it starts; calls under way end. Times go on. Raises Refused."""
    _all(run, PAUSE, by, reason, action="run.pause", otherwise="only one that is running or waiting can be paused")


def resume(run: Run, *, by: Member | None, reason: str) -> None:
    """Raises Refused."""
    if why := unresumable(run):
        raise Refused(why)
    _all(run, RESUME, by, reason, action="run.resume", otherwise="only a paused one can go on")


def unresumable(run: Run) -> str | None:
    used_up = run.budgets and Budget.objects.used_up(run.budgets).exists()
    return "A budget of the run is used up; it goes on when that is raised." if used_up else None


def _all(run: Run, function: str, by: Member | None, reason: str, **words: Any) -> None:
    """Parents first, each in a transaction of its own. Of those below, only the ones that can; and again while there
    were some, for one may have started another before its turn came."""
    note = note_of(by, reason)
    act(run, function, [json.dumps(note)], by=by, data=note, **words)
    while sum(_acts(below, function, note, by, words) for below in _below(run, is_paused=function == RESUME)):
        pass


def _below(run: Run, *, is_paused: bool) -> list[Run]:
    when = (Run.Status.PAUSED,) if is_paused else (Run.Status.RUNNING, Run.Status.WAITING)
    found = Run.objects.filter(pk__in=[key for (key,) in rows(BELOW, [run.pk])], status__in=when).order_by("pk")
    return [below for below in found if not is_paused or not unresumable(below)]


def _acts(run: Run, function: str, note: dict[str, Any], by: Member | None, words: Mapping[str, Any]) -> bool:
    try:
        act(run, function, [json.dumps(note)], by=by, data=note, **words)
    except Refused:
        return False
    return True
