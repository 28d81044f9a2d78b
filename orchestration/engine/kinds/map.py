"""The step once for each item of a list: its row is the head of theirs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings

from orchestration.engine.heads import Ended, as_items, gathered, lay
from orchestration.engine.outcomes import NotRecordable, Outcome, failed
from orchestration.language.findings import at_most

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def begin(execution: "Execution") -> Outcome:
    step = execution.step
    values = step.over.evaluate(execution.context)
    if not isinstance(values, list):
        return failed("permanent", "What it maps over is no list.")
    if len(values) > settings.MAP_MOST_ITEMS:
        return failed("permanent", f"What it maps over has {len(values):,} items. {at_most('MAP_MOST_ITEMS')}")
    if not values:
        return execution.finish(Outcome("completed", output=[]))
    size = step.map["batch"]
    if size is not None:
        values = [values[at : at + size] for at in range(0, len(values), size)]
    try:
        items = as_items(values)
    except NotRecordable as exc:
        return failed("permanent", str(exc))
    bearable = tolerated(step.map["tolerate"], len(items))
    return lay(execution, items, step.item_kind, window=step.map["concurrency"], bearable=bearable)


def gather(execution: "Execution") -> Outcome:
    ended = gathered(execution)
    bad = [one for one in ended if one.is_bad]
    bearable = tolerated(execution.step.map["tolerate"], len(ended))
    if len(bad) > bearable:
        return _too_many(bad, len(ended), bearable)
    return execution.finish(Outcome("completed", output=[one.output for one in ended]))


def tolerated(tolerate: dict[str, Any], total: int) -> int:
    return math.floor(tolerate["share"] * total) if "share" in tolerate else int(tolerate["count"])


def _too_many(bad: Sequence[Ended], total: int, bearable: int) -> Outcome:
    first = bad[0].error or {"class": "permanent", "message": f"It was {bad[0].status}."}
    many = f"{len(bad):,} of {total:,} {'item' if total == 1 else 'items'} failed"
    some = f", and {bearable:,} {'is' if bearable == 1 else 'are'} tolerated" if bearable else ""
    return failed(first["class"], f"{many}{some}; the first was {bad[0].index}: {first['message']}")
