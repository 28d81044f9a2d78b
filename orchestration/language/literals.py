"""A value against its schema while its templates are not filled yet: what is wrong whatever they will give."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from .expressions import Part, split
from .schemas import named, of_template, types_of

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError]]


class Hole:
    """Stands for a template's value. `types` are the JSON types it can have; None is any."""

    def __init__(self, types: frozenset[str] | None) -> None:
        self.types = types

    def __repr__(self) -> str:
        return "${{ … }}"


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
            yield ValidationError(f"this is {named(instance.types)}, and must be {wanted}")

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
