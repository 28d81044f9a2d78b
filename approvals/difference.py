"""What differs between two payloads, place by place."""

from collections.abc import Iterator
from typing import Any


def difference(before: Any, after: Any) -> list[dict[str, Any]]:
    """[{pointer, before, after}], by place. What was added has no `before`, what was removed no `after`."""
    return list(_differences(before, after, ""))


def escape(key: str) -> str:
    """One reference token of an RFC 6901 pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def _differences(before: Any, after: Any, pointer: str) -> Iterator[dict[str, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _members(before, after, pointer)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _members(dict(enumerate(before)), dict(enumerate(after)), pointer)
    elif isinstance(before, bool) is not isinstance(after, bool) or before != after:  # True == 1 in Python, not in JSON
        yield {"pointer": pointer, "before": before, "after": after}


def _members(before: dict[Any, Any], after: dict[Any, Any], pointer: str) -> Iterator[dict[str, Any]]:
    for key in [*before, *(key for key in after if key not in before)]:
        here = f"{pointer}/{escape(str(key))}"
        if key not in after:
            yield {"pointer": here, "before": before[key]}
        elif key not in before:
            yield {"pointer": here, "after": after[key]}
        else:
            yield from _differences(before[key], after[key], here)
