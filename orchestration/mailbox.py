"""Messages that a run got, with what became of them."""

import json
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from orchestration.models import OutsideEvent, Run, Step

SHOWN = 100
SHOWN_SIGNS = 20_000


def messages_of(run: Run) -> QuerySet[OutsideEvent]:
    """The newest first, each with `taken_by`: the name of the step that took it."""
    taker = Step.objects.filter(run_id=OuterRef("run_id"), key=OuterRef("taken_key")).values("name")
    found = OutsideEvent.objects.filter(run=run).select_related("by__user")
    return found.annotate(taken_by=Subquery(taker)).order_by("-pk")


def came(run: Run) -> list[dict[str, Any]]:
    """[{message, said, told}] as a page shows them."""
    return [
        {"message": message, "said": _in_words(message.content), "told": _in_words(message.reply)}
        for message in messages_of(run)[:SHOWN]
    ]


def _in_words(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, indent=1)[:SHOWN_SIGNS]
