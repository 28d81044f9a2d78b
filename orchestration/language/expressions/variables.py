"""Of a run's values only what an expression reads is handed to it: converting all of them would cost far more."""

from collections.abc import Collection
from typing import Any

from .reads import Read

ABSENT = object()

Wanted = dict[str, "Wanted | None"]


def wanted_by(reads: Collection[Read]) -> Wanted:
    """The tree of what is read; None means the whole of it. Lists are taken whole."""
    tree: Wanted = {}
    for read in reads:
        keys = _keys(read.path)
        at = tree
        for key in keys[:-1]:
            below = at.setdefault(key, {})
            if below is None:
                break
            at = below
        else:
            at[keys[-1]] = None
    return tree


def _keys(path: tuple[str | int, ...]) -> list[str]:
    keys: list[str] = []
    for key in path:
        if isinstance(key, int):
            break
        keys.append(key)
    return keys


def pruned(wanted: Wanted, value: Any) -> Any:
    return {
        key: value[key] if below is None or type(value[key]) is not dict else pruned(below, value[key])
        for key, below in wanted.items()
        if key in value
    }


def follow(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        if type(value) is dict:
            if key not in value:
                return ABSENT
            value = value[key]
        elif type(value) is list and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return ABSENT
    return value
