"""`schedule`: when runs start by themselves, and with which input."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from ui.schema_words import words_of_error

from ..cron import CronError, cron_of, zone_of
from ..draft import Draft
from ..durations import seconds_in
from ..expressions import ExpressionError
from ..literals import literal_errors, with_holes
from ..nodes import Where
from ..references import check_template

READS = frozenset({"schedule"})
SAMPLE = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC))
HOW_TO_WRITE = "Write minute, hour, day, month and weekday, such as 0 8 * * mon-fri."


def check(draft: Draft) -> None:
    said = draft.root.value["schedule"]
    for place, entry in enumerate(said) if isinstance(said, list) else ():
        if isinstance(entry, dict):
            _check_times(draft, ["schedule", place], entry)
            _check_input(draft, ["schedule", place], entry)


def _check_times(draft: Draft, at: Where, entry: dict[str, Any]) -> None:
    cron, zone = entry.get("cron"), entry.get("zone", "UTC")
    try:
        zone_of(str(zone))
    except CronError as exc:
        draft.find([*at, "zone"], "zone", f"{exc}.", "Write a zone of the IANA list.")
        zone = "UTC"
    if not isinstance(cron, str):
        return
    try:
        times = islice(cron_of(cron, zone).between(*SAMPLE), 50)
    except CronError as exc:
        draft.find([*at, "cron"], "cron", f"{exc}.", HOW_TO_WRITE)
        return
    shortest = min((after - before for before, after in pairwise(times)), default=timedelta.max)
    if (seconds_in(entry, "jitter") or 0.0) >= shortest.total_seconds():
        draft.find([*at, "jitter"], "schedule", f"Times are only {shortest} apart.", "Make jitter shorter than that.")


def _check_input(draft: Draft, at: Where, entry: dict[str, Any]) -> None:
    """Its templates count as the texts that they give."""
    given = entry.get("with", {})
    if "with" in entry:
        check_template(draft, [*at, "with"], given, None, READS)
    if draft.input_schema is None or not isinstance(given, dict):
        return
    try:
        filled = with_holes(given, lambda _: {"type": "string"})
    except ExpressionError:
        return
    error: Any  # the stubs know its members as perhaps unset
    for error in literal_errors(draft.input_schema, filled):
        path = [*at, "with", *error.absolute_path] if "with" in entry else at
        message = f"The input does not take what the schedule gives: {words_of_error(error)}"
        draft.find(path, "schedule", message, "Give in with what input asks for.")


def plan(draft: Draft) -> dict[str, Any]:
    return {
        "schedule": [
            {
                "cron": entry["cron"],
                "zone": entry.get("zone", "UTC"),
                "overlap": entry.get("overlap", "skip"),
                "jitter": seconds_in(entry, "jitter") or 0.0,
                "backfill": entry.get("backfill", "last"),
                "with": entry.get("with", {}),
            }
            for entry in draft.root.value["schedule"]
        ]
    }
