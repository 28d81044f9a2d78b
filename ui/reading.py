"""Keys and numbers as people read them; where a program reads, they stay as they are."""

import json
import re

LARGEST_PLAIN = 1e15  # beyond it a number is written as JSON writes it
SNAKE = re.compile(r"[A-Za-z][A-Za-z0-9]*([_-][a-z0-9]+)*")
CAMEL = re.compile(r"[a-z][a-z0-9]*([A-Z][a-z0-9]*)+")
NO_AMOUNTS = (
    {"id", "ids", "no", "nr", "key", "code", "number", "index", "position", "round", "seq", "serial", "version"}
    | {"year", "years", "month", "day", "date", "timestamp", "epoch"}
    | {"zip", "postcode", "postal", "phone", "fax", "port", "pid", "sku", "iban", "isbn", "ean"}
)  # the last word of a name


def humanized(key: str) -> str:
    """ "change_percent" is "Change percent", "createdAt" is "Created at"; what is no name of a program stays."""
    if CAMEL.fullmatch(key):
        words = re.sub(r"([A-Z])(?=[a-z])", lambda found: f" {found[1].lower()}", key)
        words = re.sub(r"(?<=[a-z0-9])([A-Z])", r" \1", words)
    elif SNAKE.fullmatch(key):
        words = re.sub(r"[_-]", " ", key)
    else:
        return key
    return words[:1].upper() + words[1:]


def is_amount(name: str, *, is_number: bool) -> bool | None:
    """Whether what has this name counts something: False for identifiers, years and the like; None if nobody knows.

    `is_number`: its schema says `number`, so it is none that is counted by ones, as years are.
    """
    words = humanized(name).lower().split()
    is_none = bool(words) and words[-1] in NO_AMOUNTS and "per" not in words[-2:-1]
    return False if is_none else is_number or None


def number_text(value: float, amount: bool | None = None) -> str:
    """12,345.6: the thousands are parted, unless it is no amount, or of four digits and may be a year."""
    if abs(value) >= LARGEST_PLAIN:
        return json.dumps(value)
    amount = True if amount is None and isinstance(value, float) else amount
    value = int(value) if float(value).is_integer() else value
    if amount is False or (amount is None and abs(value) < 10_000):
        return str(value)
    return f"{value:,}"
