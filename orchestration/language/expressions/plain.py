"""What CEL gives back as plain JSON, and JSON as text."""

import base64
import json
import math
from datetime import datetime, timedelta
from typing import Any

import cel

from .typing import LARGEST_INT, SMALLEST_INT


class NotPlain(Exception):
    """A value that JSON, or the database, cannot hold."""


def plain(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        if "\0" in value:
            raise NotPlain("the text holds a zero character, which cannot be stored")
        return value
    if value is None or kind is bool:
        return value
    if kind is int:
        if not SMALLEST_INT <= value <= LARGEST_INT:
            raise NotPlain(f"{value} does not fit into 64 bits")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise NotPlain(
                f"the result is {'not a number' if math.isnan(value) else 'infinite'}, which JSON cannot hold"
            )
        return value
    if kind is dict:
        return {_plain_key(key): plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    return _plain_rare(value)


def plain_in_order(value: Any) -> Any:
    """What CEL has made, maps by their keys: its own come in another order each time, and texts are made of them."""
    kind = type(value)
    if kind is dict:
        return {key: plain_in_order(value[key]) for key in sorted([_plain_key(key) for key in value])}
    if kind is list or kind is tuple:
        return [plain_in_order(item) for item in value]
    if kind is cel.OptionalValue:
        return plain_in_order(value.value()) if value.has_value() else None
    return plain(value)


def _plain_rare(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
    if isinstance(value, cel.OptionalValue):
        return plain(value.value()) if value.has_value() else None
    raise NotPlain(f"the result is a {type(value).__name__}, which JSON cannot hold")


def _plain_key(key: Any) -> str:
    if not isinstance(key, str):
        raise NotPlain(f"the key {key} of a map is not text, as JSON needs it")
    return str(plain(key))


def as_text(value: Any) -> str:
    """A JSON value inside text: strings as they are, all else as JSON, whole doubles without their `.0`."""
    if isinstance(value, str):
        return value
    return json.dumps(_whole_as_ints(value), ensure_ascii=False, separators=(", ", ": "))


def _whole_as_ints(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_as_ints(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_as_ints(item) for item in value]
    return value
