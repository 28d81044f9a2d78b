"""`rate`: how many units of steps may begin under a key in a time."""

from typing import Any

from .. import schemas
from ..draft import Draft
from ..durations import seconds_in
from ..nodes import Where
from ..references import check_template
from .concurrency import check_keys, key_of, limits_of


def check(draft: Draft, name: str) -> None:
    limits = limits_of(draft, name, "rate")
    check_keys(draft, name, limits)
    for at, one in limits:
        if seconds_in(one, "per") == 0:
            draft.find([*at, "per"], "limit", "There is no time in which to count.", "Write how long, such as 1m.")
        _check_units(draft, name, [*at, "units"], one)


def plan(draft: Draft, name: str) -> dict[str, Any]:
    return {
        "rate": [
            {
                "key": key_of(draft, name, one),
                "max": one["max"],
                "per": seconds_in(one, "per"),
                "units": one.get("units", 1),
            }
            for _, one in limits_of(draft, name, "rate")
        ]
    }


def _check_units(draft: Draft, name: str, at: Where, limit: dict[str, Any]) -> None:
    units, most = limit.get("units", 1), limit.get("max")
    check_template(draft, at, units, name, draft.roots_of(name, "calling"))
    if isinstance(units, int) and isinstance(most, int) and units > most >= 1:
        message = f"One step counts for {units:,}, and {most:,} are all there are."
        draft.find(at, "limit", message, "Make max larger, or units smaller.")
    types = schemas.types_of(draft.schema_of_template(units, name)) if isinstance(units, str) else None
    if types is not None and not types & {"integer", "number"}:
        draft.find(at, "limit", f"This is {schemas.named(types)}, not a number.", "Write one such as ${{ size(…) }}.")
