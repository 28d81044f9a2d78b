"""JSON Schema (draft 2020-12) for agents: is a schema one, and does a value obey it."""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import referencing
import referencing.exceptions
from jsonschema import Draft202012Validator, exceptions

from ui.schema_words import LONGEST_MESSAGE, words_of_error


@dataclass(frozen=True, slots=True)
class Finding:
    """`pointer` is a JSON Pointer (RFC 6901) into what was checked; empty means the whole of it."""

    pointer: str
    message: str

    def below(self, prefix: str) -> "Finding":
        return Finding(prefix + self.pointer, self.message)


def pointer(path: Iterable[Any]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def schema_findings(schema: Any) -> list[Finding]:
    """What is wrong with a schema itself. References may only point into it: nothing is ever fetched."""
    errors = Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema)
    found = [Finding(pointer(error.absolute_path), error.message[:LONGEST_MESSAGE]) for error in errors]
    return found or [*_outside_references(schema, "")]


def _outside_references(node: Any, at: str) -> Iterator[Finding]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
                yield Finding(f"{at}{pointer([key])}", f"Only references within the schema (#…) are allowed: {value}")
            yield from _outside_references(value, at + pointer([key]))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _outside_references(value, f"{at}/{index}")


def value_findings(value: Any, schema: Mapping[str, Any] | bool) -> list[Finding]:
    """What keeps `value` from obeying `schema`, nearest to the cause; empty if nothing does."""
    try:
        errors = [*_validator(json.dumps(schema, sort_keys=True)).iter_errors(value)]
    except referencing.exceptions.Unresolvable as error:
        return [Finding("", f"The schema refers to {error.ref}, which is not in it.")]
    return [
        Finding(pointer(error.absolute_path), words_of_error(error))
        for error in (_cause(error) for error in sorted(errors, key=lambda each: [str(part) for part in each.path]))
    ]


@functools.lru_cache(maxsize=512)
def _validator(text: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(text), registry=referencing.Registry())


def _cause(error: exceptions.ValidationError) -> exceptions.ValidationError:
    return exceptions.best_match([error]) or error
