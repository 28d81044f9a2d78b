import re
from typing import Any

from .schema import SCHEMA

PATTERN = re.compile(SCHEMA["$defs"]["duration"]["pattern"])
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds_in(above: Any, key: str) -> float | None:
    """How long `above` says that `key` is; None if it says nothing, or no duration."""
    text = above.get(key) if isinstance(above, dict) else None
    if not isinstance(text, str) or not PATTERN.fullmatch(text):
        return None
    number = text.rstrip("".join(UNIT_SECONDS))
    return round(float(number) * UNIT_SECONDS[text[len(number) :]], 6)
