"""A value of a text, and where it stands there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Where = Sequence[str | int]


@dataclass(slots=True)
class Node:
    """`value` is plain JSON. `keys` and `fields` of an object, `items` of a list; `size` with aliases expanded."""

    value: Any
    line: int
    column: int
    start: int
    end: int
    size: int = 1
    keys: dict[str, "Node"] = field(default_factory=dict)
    fields: dict[str, "Node"] = field(default_factory=dict)
    items: list["Node"] = field(default_factory=list)

    def at(self, path: Where) -> "Node":
        """The node there, or the nearest above it."""
        node = self
        for key in path:
            if isinstance(key, str) and key in node.fields:
                node = node.fields[key]
            elif isinstance(key, int) and key < len(node.items):
                node = node.items[key]
            else:
                break
        return node

    def key(self, path: Where) -> "Node":
        """The key that names what is there, or the nearest node above."""
        above = self.at(path[:-1])
        return above.keys.get(str(path[-1]), above) if path else self
