"""What a JSON Schema refuses, in words for the person who typed it."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from ui.schema_words import form_wanted

LONGEST_MESSAGE = 300
WORDS_OF_RULES = {
    "required": "This field is required.",
    "minLength": "At least {} signs.",
    "maxLength": "At most {} signs.",
    "minimum": "At least {}.",
    "maximum": "At most {}.",
    "exclusiveMinimum": "More than {}.",
    "exclusiveMaximum": "Less than {}.",
    "minItems": "At least {} of them.",
    "maxItems": "At most {} of them.",
    "multipleOf": "A multiple of {}.",
}


def schema_errors(value: Any, schema: Any) -> Iterator[tuple[str, str]]:
    """(JSON Pointer, words) of each thing wrong with `value`; a missing member is told at its own place."""
    if not isinstance(schema, Mapping | bool):
        return
    try:
        for error in Draft202012Validator(schema, registry=Registry()).iter_errors(value):
            yield _pointer_of(error), _words_of(error)
    except Unresolvable as exc:
        yield "", f"The schema names {exc.ref!r}, which is not in it."


def _pointer_of(error: ValidationError) -> str:
    path = [str(token) for token in error.absolute_path]
    if error.validator == "required" and isinstance(error.instance, Mapping):
        missing = [
            name
            for name in _listed(error.validator_value)
            if name not in error.instance and repr(name) in error.message
        ]
        path += missing[:1]
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in path)


def _words_of(error: ValidationError) -> str:
    rule = error.validator_value
    if error.validator == "type":
        return f"This is to be of type {' or '.join([rule] if isinstance(rule, str) else _listed(rule))}."
    if error.validator == "pattern":
        return form_wanted(error.schema)[:LONGEST_MESSAGE]
    words = WORDS_OF_RULES.get(str(error.validator))
    return (words.format(rule) if words else error.message)[:LONGEST_MESSAGE]


def _listed(rule: Any) -> list[str]:
    return [str(part) for part in rule]
