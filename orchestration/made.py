"""What tells deliverables apart where several are listed: what their runs were given, and who approved them."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Func, JSONField, Value

from accounts.models import Member
from approvals.models import CONTINUE, Request
from orchestration.models import DefinitionVersion, Deliverable, DeliverableQuerySet
from orchestration.run_lists import small_input
from ui.reading import humanized

MOST_WORDS = 3  # labels or values of an input
LONGEST_WORD = 60


@dataclass(frozen=True, slots=True)
class Made:
    """`given` are the labels of its run, else what its input says plainly; `approvals`, the newest last."""

    deliverable: Deliverable
    given: Sequence[str]
    approvals: Sequence[Request]


def listed(rows: DeliverableQuerySet, member: Member) -> list[Made]:
    """Three queries, however many."""
    found = list(rows.for_page().select_related("run__started_by__user").annotate(given=small_input("run__input")))
    approvals = approvals_of(found, member)
    return [Made(each, recognized(each.run.labels, vars(each)["given"]), approvals[each.pk]) for each in found]


def recognized(labels: Mapping[str, Any] | None, given: str) -> list[str]:
    """ "Month: 2026-10". `given`: an input as JSON, "" for a large one."""
    value = labels or (json.loads(given) if given else None)
    if not isinstance(value, dict):
        return [_short(value)] if _is_plain(value) else []
    plain = [(name, each) for name, each in value.items() if _is_plain(each)]
    plain.sort(key=lambda pair: not isinstance(pair[1], str))  # words tell more than numbers, and yes and no
    return [f"{humanized(name)}: {_short(each)}" for name, each in plain[:MOST_WORDS]]


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and value != ""


def _short(value: Any) -> str:
    text = ("yes" if value else "no") if isinstance(value, bool) else " ".join(str(value).split())
    return text if len(text) <= LONGEST_WORD else f"{text[: LONGEST_WORD - 1]}…"


def approvals_of(deliverables: Collection[Deliverable], member: Member) -> dict[int, list[Request]]:
    """By the deliverable's key: the newest approval of each checkpoint that its step comes after, in order."""
    needs = _needs_of({each.run.definition_version_id for each in deliverables})
    asked: dict[str, list[Request]] = defaultdict(list)
    rows = Request.objects.visible_to(member).of_run(*{each.run.public_id for each in deliverables})
    for row in rows.filter(choice=CONTINUE).for_inbox().without_payloads().order_by("decided_at"):
        asked[row.context["run"]].append(row)
    found = {}
    for each in deliverables:
        before = _before(each.step, needs[each.run.definition_version_id])
        newest = {
            str(row.step): row
            for row in asked[each.run.public_id]
            if row.step in before and row.decided_at and row.decided_at <= each.created_at
        }
        found[each.pk] = sorted(newest.values(), key=lambda row: (row.decided_at, row.pk))
    return found


def _needs_of(versions: Collection[int]) -> dict[int, dict[str, list[str]]]:
    """{version: {step: steps that it needs}}, of plans that may be long."""
    rows = DefinitionVersion.objects.filter(pk__in=versions).values_list("pk", _of_steps("name"), _of_steps("needs"))
    return {version: dict(zip(names, needs, strict=True)) for version, names, needs in rows}


def _of_steps(key: str) -> Func:
    path = Value(f"$.steps[*].{key}")
    return Func(F("plan"), path, function="jsonb_path_query_array", output_field=JSONField())


def _before(step: str, needs: Mapping[str, Sequence[str]]) -> set[str]:
    before: set[str] = set()
    left = [step]
    while left:
        for name in needs.get(left.pop(), ()):
            if name not in before:
                before.add(name)
                left.append(name)
    return before
