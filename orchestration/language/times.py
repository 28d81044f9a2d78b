"""Times as a text writes them."""

import re
from datetime import datetime

# RFC 3339, also without seconds
TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)")


def time_of(text: str) -> datetime | None:
    """None if this is no time, or one without an offset."""
    try:
        return datetime.fromisoformat(text.upper()) if TIME.fullmatch(text) else None
    except ValueError:
        return None


def has_template(text: str) -> bool:
    return "${{" in text
