"""`concurrency`: how many steps may be at work at once under a key."""

from typing import Any

from ..draft import Draft
from ..nodes import Where
from ..references import check_template

LONGEST_KEY = 200
Found = list[tuple[Where, dict[str, Any]]]


def check(draft: Draft, name: str) -> None:
    check_keys(draft, name, limits_of(draft, name, "concurrency"))


def plan(draft: Draft, name: str) -> dict[str, Any]:
    said = limits_of(draft, name, "concurrency")
    return {"concurrency": [{"key": key_of(draft, name, one), "max": one["max"]} for _, one in said]}


def limits_of(draft: Draft, name: str, key: str) -> Found:
    """One limit or a list of them, each with its place."""
    said = draft.steps[name][key]
    at: Where = ["steps", name, key]
    several: Found = (
        [([*at, number], one) for number, one in enumerate(said)] if isinstance(said, list) else [(at, said)]
    )
    return [(where, one) for where, one in several if isinstance(one, dict)]


def key_of(draft: Draft, name: str, limit: dict[str, Any]) -> Any:
    return limit.get("key", f"{draft.root.value['name']}/{name}")


def check_keys(draft: Draft, name: str, limits: Found) -> None:
    seen = set()
    for at, one in limits:
        key = one.get("key")
        check_template(draft, [*at, "key"], key, name, draft.roots_of(name, "calling"))
        if isinstance(key, str) and "${{" not in key and len(key) > LONGEST_KEY:
            what = f"The key has {len(key):,} characters; at most {LONGEST_KEY} are taken."
            draft.find([*at, "key"], "limit", what, "Write a shorter one.")
        if key in seen:
            draft.find(at, "limit", "Another limit of this step has the same key.", "Take one of them out.")
        seen.add(key)
