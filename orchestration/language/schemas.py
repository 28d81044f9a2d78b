"""What a JSON Schema says of a path, and of a value whose templates are not filled yet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from .expressions import Part, split
from .expressions.typing import resolve

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError]]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A path leaves what the schema allows: `depth` is the index of the part that does."""

    depth: int
    message: str
    known: tuple[str, ...] = ()


class Hole:
    """Stands for a template's value. `types` are the JSON types it can have; None is any."""

    def __init__(self, types: frozenset[str] | None) -> None:
        self.types = types

    def __repr__(self) -> str:
        return "${{ … }}"


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


def follow(schema: Any, path: tuple[str | int, ...]) -> Any | Unknown:
    """The schema of what `path` leads to; None if nothing is known of it; Unknown if there can be no such place."""
    at: list[Any] = [schema]
    for depth, key in enumerate(path):
        options = [option for one in at for option in _options(schema, one, 0)]
        if not options or any(not isinstance(option, Mapping) for option in options):
            return None
        below = [_step(option, key) for option in options]
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
            return Unknown(0, f"is {_article(types)}, not a list")
        prefix = schema.get("prefixItems", [])
        return prefix[key] if key < len(prefix) else schema.get("items")
    if types is not None and "object" not in types:
        return Unknown(0, f"is {_article(types)}, not an object with fields")
    properties = schema.get("properties", {})
    if key in properties:
        return properties[key]
    open_ = "patternProperties" in schema or schema.get("additionalProperties", False) is not False
    if open_ or ("properties" not in schema and "additionalProperties" not in schema):
        additional = schema.get("additionalProperties")
        return additional if isinstance(additional, Mapping) and "patternProperties" not in schema else None
    return Unknown(0, "has no field of this name", tuple(properties))


def _types(schema: Mapping[str, Any]) -> frozenset[str] | None:
    types = schema.get("type")
    if isinstance(types, str):
        return frozenset({types})
    return frozenset(types) if isinstance(types, list) else None


def types_of(schema: Any) -> frozenset[str] | None:
    """The JSON types a value of this schema can have; None if it does not say."""
    types = _types(schema) if isinstance(schema, Mapping) and "$ref" not in schema else None
    return types


def _article(types: frozenset[str]) -> str:
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


def with_holes(value: Any, of_path: Callable[[tuple[str | int, ...]], Any]) -> Any:
    """`value` with a Hole for each string that is, or holds, a template."""
    if isinstance(value, str):
        parts = split(value)
        if not any(isinstance(part, Part) for part in parts):
            return value
        return Hole(types_of(of_template(value, of_path)))
    if isinstance(value, Mapping):
        return {key: with_holes(item, of_path) for key, item in value.items()}
    if isinstance(value, list):
        return [with_holes(item, of_path) for item in value]
    return value


def literal_errors(schema: Any, value: Any) -> Iterator[ValidationError]:
    """The errors that `value` has whatever its holes are filled with."""
    yield from _Possible(schema).iter_errors(value)


def _fits(types: frozenset[str], wanted: Any) -> bool:
    wanted = {wanted} if isinstance(wanted, str) else set(wanted)
    if "number" in wanted:
        wanted.add("integer")
    if "number" in types:
        types = types | {"integer"}
    return bool(types & wanted)


def _possibly(keyword: str, original: Keyword) -> Keyword:
    def apply(validator: Validator, argument: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(instance, Hole):
            yield from original(validator, argument, instance, schema) or ()
        elif keyword == "type" and instance.types is not None and not _fits(instance.types, argument):
            wanted = argument if isinstance(argument, str) else " or ".join(argument)
            yield ValidationError(f"this is {_article(instance.types)}, and must be {wanted}")

    return apply


def _certainly(original: Keyword) -> Keyword:
    def apply(validator: Validator, argument: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, Hole):
            yield ValidationError("not known yet")
        else:
            yield from original(validator, argument, instance, schema) or ()

    return apply


def _not(validator: Validator, argument: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if _Certain(argument).is_valid(instance):
        yield ValidationError(f"{instance!r} is what must not be here")


def _if(validator: Validator, argument: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.evolve(schema=argument).is_valid(instance):
        if "else" in schema:
            yield from validator.evolve(schema=schema["else"]).iter_errors(instance)
    elif "then" in schema and _Certain(argument).is_valid(instance):
        yield from validator.evolve(schema=schema["then"]).iter_errors(instance)


def _one_of(validator: Validator, argument: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not any(validator.evolve(schema=below).is_valid(instance) for below in argument):
        yield ValidationError(f"{instance!r} fits none of the given schemas")
    elif sum(_Certain(below).is_valid(instance) for below in argument) > 1:
        yield ValidationError(f"{instance!r} fits more than one of the given schemas")


_extend: Any = extend
# these two validators see the templates of a value as filled well, or not at all
_ALL: dict[str, Keyword] = dict(Draft202012Validator.VALIDATORS)
_Certain: Any = _extend(Draft202012Validator, {name: _certainly(function) for name, function in _ALL.items()})
_SPECIAL: dict[str, Keyword] = {"not": _not, "if": _if, "oneOf": _one_of}
_Possible: Any = _extend(
    Draft202012Validator, {name: _possibly(name, _SPECIAL.get(name, function)) for name, function in _ALL.items()}
)
