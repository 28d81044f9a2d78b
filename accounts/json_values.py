"""What JSON may be kept here, and the one text of it that digests are made of."""

import math
from collections.abc import Iterable
from typing import Any

import rfc8785

DEEPEST_JSON = 100
LARGEST_INT = 2**63
CONTAINERS = (dict, list, tuple)
EXACT_BELOW = 2**53  # RFC 8785 knows IEEE 754 doubles only: from here on they skip whole numbers


def canonical(value: Any) -> bytes:
    """RFC 8785 JSON, of whole numbers of any size too, the same before and after a trip through jsonb.

    jsonb gives 1e16 back as 10000000000000000, an int, which RFC 8785 has no text for. So a whole number of 2**53 or
    more, int or float, is written as the string of a zero character and its digits. No other value has that text: a
    zero character cannot be stored. Raises rfc8785.CanonicalizationError for what is no JSON: NaN, lone surrogates.
    """
    return rfc8785.dumps(_with_large_numbers_as_text(value))


def _with_large_numbers_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_large_numbers_as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_large_numbers_as_text(inner) for inner in value]
    if isinstance(value, int) and abs(value) >= EXACT_BELOW:
        return f"\0{value}"
    if isinstance(value, float) and EXACT_BELOW <= abs(value) < math.inf:
        return f"\0{_whole(value)}"
    return value


def _whole(value: float) -> int:
    """The integer that the float's shortest text means, which is what jsonb keeps: 10**23 of 1e23."""
    digits, _, exponent = repr(value).partition("e")
    whole, _, fraction = digits.partition(".")
    fraction = fraction.rstrip("0")
    return int(whole + fraction) * 10 ** (int(exponent or 0) - len(fraction))


def is_too_deep(content: Any) -> bool:
    """Whether lists and objects lie in each other more than DEEPEST_JSON deep. However deep, it does not recurse."""
    level = [content] if isinstance(content, CONTAINERS) else []
    for _ in range(DEEPEST_JSON):
        if not level:
            return False
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, CONTAINERS)]
    return bool(level)


def _inside(outer: Any) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def unstorable(content: Any) -> str:
    """Why this value of JSON cannot be kept, or ""."""
    if is_too_deep(content):
        return f"It is nested deeper than {DEEPEST_JSON}."
    waiting = [content]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            if not all(isinstance(key, str) for key in inner):
                return "Keys must be text."
            waiting += inner.keys()
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
        elif isinstance(inner, str):
            if "\0" in inner or (not inner.isascii() and any("\ud800" <= sign <= "\udfff" for sign in inner)):
                return "Text may hold no zero character and no half of a surrogate pair."
        elif isinstance(inner, int) and not -LARGEST_INT <= inner < LARGEST_INT:
            return "Whole numbers must fit into 64 bits."
        elif isinstance(inner, float) and not math.isfinite(inner):
            return "Numbers must be finite."
        elif not isinstance(inner, int | float | None):
            return f"{type(inner).__name__} is no JSON."
    return ""
