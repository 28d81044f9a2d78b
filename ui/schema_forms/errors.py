"""What a JSON Schema refuses, in words for the person who typed it."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from ui.schema_words import words_of_error


def schema_errors(value: Any, schema: Any) -> Iterator[tuple[str, str]]:
    """(JSON Pointer, words) of each thing wrong with `value`; a missing member is told at its own place."""
    if not isinstance(schema, Mapping | bool):
        return
    try:
        for error in Draft202012Validator(schema, registry=Registry()).iter_errors(value):
            is_missing = error.validator == "required"
            yield _pointer_of(error), "This field is required." if is_missing else words_of_error(error)
    except Unresolvable as exc:
        yield "", f"The schema names {exc.ref!r}, which is not in it."


def _pointer_of(error: ValidationError) -> str:
    path = [str(token) for token in error.absolute_path]
    if error.validator == "required" and isinstance(error.instance, Mapping):
        wanted: Any = error.validator_value
        missing = [name for name in wanted if name not in error.instance and repr(name) in error.message]
        path += missing[:1]
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in path)
