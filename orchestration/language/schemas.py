"""What a JSON Schema says of a path, and which schema a template's value has."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from jsonschema import Draft202012Validator

from .expressions import Part, split
from .expressions.typing import resolve


@dataclass(frozen=True, slots=True)
class Unknown:
    """A path leaves what the schema allows: `depth` is the index of the part that does."""

    depth: int
    message: str
    known: tuple[str, ...] = ()


def check(schema: Any) -> list[tuple[list[str | int], str]]:
    """What is wrong with a schema itself, as (path, message)."""
    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
    found = [(list(error.absolute_path), error.message) for error in meta.iter_errors(schema)]
    return found or list(_broken_references(schema, schema, []))


def _broken_references(root: Any, at: Any, path: list[str | int]) -> Iterator[tuple[list[str | int], str]]:
    if isinstance(at, Mapping):
        reference = at.get("$ref")
        if isinstance(reference, str) and resolve(root, reference) is None:
            yield [*path, "$ref"], f"{reference} is not in this schema"
        for key, below in at.items():
            if key not in ("enum", "const", "default", "examples"):
                yield from _broken_references(root, below, [*path, key])
    elif isinstance(at, list):
        for index, below in enumerate(at):
            yield from _broken_references(root, below, [*path, index])


class Each(Enum):
    """In a path: every member or item of what is there."""

    EACH = "*"


def follow(schema: Any, path: tuple[str | int | Each, ...]) -> Any | Unknown:
    """The schema of what `path` leads to; None if nothing is known of it; Unknown if there can be no such place."""
    at: list[Any] = [schema]
    for depth, key in enumerate(path):
        options = [option for one in at for option in _options(schema, one, 0)]
        if not options or any(not isinstance(option, Mapping) for option in options):
            return None
        below = [one for option in options for one in (_each(option) if key is Each.EACH else [_step(option, key)])]
        if all(isinstance(one, Unknown) for one in below):
            known = {name for one in below if isinstance(one, Unknown) for name in one.known}
            first = next(one for one in below if isinstance(one, Unknown))
            return Unknown(depth, first.message, tuple(sorted(known)))
        at = [one for one in below if not isinstance(one, Unknown)]
        if None in at:
            return None
    return at[0] if len(at) == 1 else {"anyOf": at}


def _options(root: Any, schema: Any, depth: int) -> list[Any]:
    """The alternatives of a schema; an empty list says that it is too involved to know."""
    if not isinstance(schema, Mapping) or depth > 20:
        return []
    if isinstance(schema.get("$ref"), str):
        target = resolve(root, schema["$ref"])
        return _options(root, target, depth + 1) if len(_constraints(schema)) == 1 else []
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and "properties" not in schema:
            return [one for below in schema[keyword] for one in _options(root, below, depth + 1) or [None]]
    if any(keyword in schema for keyword in ("allOf", "anyOf", "oneOf", "if", "$dynamicRef", "dependentSchemas")):
        return []
    return [schema]


def _constraints(schema: Mapping[str, Any]) -> list[str]:
    return [key for key in schema if key not in ("title", "description", "examples", "default", "$defs", "$comment")]


def _step(schema: Mapping[str, Any], key: str | int) -> Any | Unknown:
    types = _types(schema)
    if isinstance(key, int):
        if types is not None and "array" not in types:
            return Unknown(0, f"is {named(types)}, not a list")
        prefix = schema.get("prefixItems", [])
        return prefix[key] if key < len(prefix) else schema.get("items")
    if types is not None and "object" not in types:
        return Unknown(0, f"is {named(types)}, not an object with fields")
    properties = schema.get("properties", {})
    if key in properties:
        return properties[key]
    open_ = "patternProperties" in schema or schema.get("additionalProperties", False) is not False
    if open_ or ("properties" not in schema and "additionalProperties" not in schema):
        additional = schema.get("additionalProperties")
        return additional if isinstance(additional, Mapping) and "patternProperties" not in schema else None
    return Unknown(0, "has no field of this name", tuple(properties))


def _each(schema: Mapping[str, Any]) -> list[Any | Unknown]:
    """Of every member or item that there can be."""
    types = _types(schema)
    found: list[Any | Unknown] = []
    if types is None or "array" in types:
        found += [*schema.get("prefixItems", []), *([schema.get("items")] if schema.get("items") is not False else [])]
    if types is None or "object" in types:
        additional = schema.get("additionalProperties", "properties" not in schema)
        is_open = additional is not False or "patternProperties" in schema
        found += [*schema.get("properties", {}).values(), *([None] if is_open else [])]
    return found or [Unknown(0, f"is {named(types or frozenset())}, and holds nothing")]


def _types(schema: Mapping[str, Any]) -> frozenset[str] | None:
    types = schema.get("type")
    if isinstance(types, str):
        return frozenset({types})
    return frozenset(types) if isinstance(types, list) else None


def types_of(schema: Any) -> frozenset[str] | None:
    """The JSON types a value of this schema can have; None if it does not say."""
    return _types(schema) if isinstance(schema, Mapping) and "$ref" not in schema else None


def named(types: frozenset[str]) -> str:
    """Types in words."""
    return " or ".join(sorted(types))


def has_reference(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return "$ref" in schema or any(has_reference(below) for below in schema.values())
    return isinstance(schema, list) and any(has_reference(below) for below in schema)


def of_template(value: Any, of_path: Callable[[tuple[str | int, ...]], Any]) -> Any:
    """The schema of what a template gives; None if nothing is known. `of_path` answers for a path of an expression."""
    if isinstance(value, str):
        parts = split(value)
        if len(parts) == 1 and isinstance(parts[0], Part):
            path = parts[0].expression.path
            return None if path is None else of_path(path)
        return {"type": "string"}
    if isinstance(value, Mapping):
        below = {key: of_template(item, of_path) for key, item in value.items()}
        fields = {key: {} if one is None or has_reference(one) else one for key, one in below.items()}
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return None
