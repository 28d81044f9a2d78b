"""Which JSON numbers are doubles: those whose schema says `number`. All other whole numbers are ints."""

import math
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

SMALLEST_INT, LARGEST_INT = -(2**63), 2**63 - 1
SAFE_WHOLE = 2.0**63
BRANCHES = ("anyOf", "oneOf")


class TypingError(Exception):
    """A number beyond what CEL can hold."""


class Typing:
    """A schema compiled for `apply`. None, true and whatever says nothing of `number` cost one plain walk."""

    __slots__ = ("_root",)

    def __init__(self, schema: Any = None) -> None:
        self._root = (
            _Compiler(schema).node(schema) if isinstance(schema, Mapping) and _mentions_number(schema) else None
        )

    def apply(self, value: Any) -> Any:
        """A copy of `value` with every number as CEL is to see it. Raises TypingError beyond 64 bits."""
        try:
            return _untyped(value) if self._root is None else _apply(value, (self._root,))
        except RecursionError as exc:
            raise TypingError("the value nests too deeply") from exc


class _Node:
    """What one schema says of a value's numbers. `branches`: (test, node if it passes, node if not)."""

    __slots__ = ("additional", "branches", "fields", "is_number", "items", "prefix")

    def __init__(self) -> None:
        self.is_number = False
        self.fields: dict[str, _Node] = {}
        self.additional: _Node | None = None
        self.prefix: list[_Node] = []
        self.items: _Node | None = None
        self.branches: list[tuple[Validator | None, _Node, _Node | None]] = []


class _Compiler:
    def __init__(self, root: Any) -> None:
        self.root = root
        self.known: dict[int, _Node] = {}
        self.validator = Draft202012Validator(root)

    def node(self, schema: Any) -> _Node:
        if id(schema) in self.known:
            return self.known[id(schema)]
        node = _Node()
        if not isinstance(schema, Mapping):
            return node
        self.known[id(schema)] = node
        types = schema.get("type")
        node.is_number = types == "number" or (isinstance(types, list) and "number" in types)
        for name, below in _mapping(schema.get("properties")).items():
            node.fields[name] = self.node(below)
        if isinstance(schema.get("additionalProperties"), Mapping):
            node.additional = self.node(schema["additionalProperties"])
        node.prefix = [self.node(below) for below in schema.get("prefixItems") or ()]
        if isinstance(schema.get("items"), Mapping):
            node.items = self.node(schema["items"])
        self._combine(node, schema)
        return node

    def _combine(self, node: _Node, schema: Mapping[str, Any]) -> None:
        if isinstance(schema.get("$ref"), str) and (target := resolve(self.root, schema["$ref"])) is not None:
            node.branches.append((None, self.node(target), None))
        for below in schema.get("allOf") or ():
            node.branches.append((None, self.node(below), None))
        for keyword in BRANCHES:
            for below in schema.get(keyword) or ():
                if _mentions_number(below) or "$ref" in str(below):
                    node.branches.append((self.validator.evolve(schema=below), self.node(below), None))
        if "if" in schema and ("then" in schema or "else" in schema):
            test = self.validator.evolve(schema=schema["if"])
            node.branches.append((test, self.node(schema.get("then")), self.node(schema.get("else"))))


def resolve(root: Any, reference: str) -> Any:
    """What a reference within the same schema points to; None if it points elsewhere or nowhere."""
    if not reference.startswith("#"):
        return None
    at = root
    for part in reference[1:].split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(at, Mapping) and part in at:
            at = at[part]
        elif isinstance(at, list) and part.isdecimal() and int(part) < len(at):
            at = at[int(part)]
        else:
            return None
    return at if reference == "#" or reference.startswith("#/") else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mentions_number(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return any(_mentions_number(item) for item in schema.values())
    if isinstance(schema, list | tuple):
        return any(_mentions_number(item) for item in schema)
    return bool(schema == "number")


def _apply(value: Any, nodes: tuple[_Node, ...]) -> Any:
    nodes = _expanded(value, nodes)
    kind = type(value)
    if kind is dict:
        return {key: _below(item, tuple(_fields(nodes, key))) for key, item in value.items()}
    if kind is list:
        return [_below(item, tuple(_items(nodes, index))) for index, item in enumerate(value)]
    if kind is int or kind is float:
        return _double(value) if any(node.is_number for node in nodes) else _untyped(value)
    return value


def _below(value: Any, nodes: tuple[_Node, ...]) -> Any:
    return _apply(value, nodes) if nodes else _untyped(value)


def _expanded(value: Any, nodes: tuple[_Node, ...]) -> tuple[_Node, ...]:
    if not any(node.branches for node in nodes):
        return nodes
    open_, chosen = list(nodes), list[_Node]()
    while open_:
        node = open_.pop()
        if node in chosen:
            continue
        chosen.append(node)
        for test, then, otherwise in node.branches:
            if test is None or test.is_valid(value):
                open_.append(then)
            elif otherwise is not None:
                open_.append(otherwise)
    return tuple(chosen)


def _fields(nodes: tuple[_Node, ...], key: str) -> list[_Node]:
    found = [node.fields.get(key, node.additional) for node in nodes]
    return [node for node in found if node is not None]


def _items(nodes: tuple[_Node, ...], index: int) -> list[_Node]:
    found = [node.prefix[index] if index < len(node.prefix) else node.items for node in nodes]
    return [node for node in found if node is not None]


def _double(value: int | float) -> float:
    try:
        double = float(value)
    except OverflowError as exc:
        raise TypingError("a number beyond 64 bits") from exc
    if not math.isfinite(double):
        raise TypingError(f"{double} is not a JSON number")
    return double


def _untyped(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _untyped(item) for key, item in value.items()}
    if kind is list:
        return [_untyped(item) for item in value]
    if kind is float:
        if not math.isfinite(value):
            raise TypingError(f"{value} is not a JSON number")
        return int(value) if value.is_integer() and -SAFE_WHOLE <= value < SAFE_WHOLE else value
    if kind is int and not SMALLEST_INT <= value <= LARGEST_INT:
        raise TypingError(f"{value} does not fit into 64 bits")
    return value
