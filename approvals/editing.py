"""A reviewer's edits of a payload: JSON Pointers (RFC 6901) to new values, existing places only.

What is editable is told by patterns: pointers in which a token that is only `*` stands for any one key or index.
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from accounts.json_values import DEEPEST_JSON, is_too_deep
from approvals.difference import escape
from approvals.exceptions import Finding, InvalidAnswer
from ui.schema_words import words_of_error

INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
BAD_ESCAPE = re.compile(r"~(?![01])")
ANY = "*"  # in a pattern


class NoSuchPlace(LookupError):
    """The pointer names no existing place."""


def edited(payload: Any, edits: Mapping[str, Any], *, editable: Sequence[str], schema: Any) -> Any:
    """A copy of `payload` with `edits` made, checked against `schema` (None: not known). Raises InvalidAnswer."""
    errors = [error for pointer in edits if (error := _refusal(payload, pointer, edits, editable)) is not None]
    if errors:
        raise InvalidAnswer(errors)
    answer = copy.deepcopy(payload)
    for pointer, value in edits.items():
        answer = _replaced(answer, tokens_of(pointer), copy.deepcopy(value))
    if edits and is_too_deep(answer):
        raise InvalidAnswer([{"pointer": "", "message": f"The payload would be nested deeper than {DEEPEST_JSON}."}])
    if edits:
        check_schema(answer, schema)
    return answer


def check_schema(answer: Any, schema: Any) -> None:
    """`schema` None: not known. Raises InvalidAnswer."""
    if schema is not None and (errors := list(_schema_errors(answer, schema))):
        raise InvalidAnswer(errors)


def tokens_of(pointer: str) -> list[str]:
    """The keys a pointer names, from the root; [] is the whole. Raises NoSuchPlace for what is no pointer."""
    if pointer == "":
        return []
    if not pointer.startswith("/") or BAD_ESCAPE.search(pointer):
        raise NoSuchPlace(pointer)
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _refusal(payload: Any, pointer: str, edits: Mapping[str, Any], editable: Sequence[str]) -> Finding | None:
    try:
        tokens = tokens_of(pointer)
    except NoSuchPlace:
        return {"pointer": pointer, "message": "This is no JSON Pointer, such as /rows/0/amount."}
    if not any(is_covered(tokens, tokens_of(pattern)) for pattern in editable):
        return {"pointer": pointer, "message": f"This may not be edited. Editable: {', '.join(editable) or 'nothing'}."}
    try:
        value_at(payload, tokens)
    except NoSuchPlace:
        return {"pointer": pointer, "message": "The payload has no such place; edits change existing places only."}
    if any(other != pointer and is_at_or_below(tokens, tokens_of(other)) for other in _pointers(edits)):
        return {"pointer": pointer, "message": "Another edit replaces what holds this place; send one of the two."}
    return None


def _pointers(edits: Mapping[str, Any]) -> Iterator[str]:
    return (pointer for pointer in edits if pointer == "" or (pointer[0] == "/" and not BAD_ESCAPE.search(pointer)))


def is_at_or_below(tokens: Sequence[str], root: Sequence[str]) -> bool:
    return tokens[: len(root)] == root


def is_covered(tokens: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a place is one that the pattern names, or lies in one."""
    return len(tokens) >= len(pattern) and _agree(tokens, pattern)


def holds_covered(tokens: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether what the pattern names lies within that place."""
    return len(tokens) < len(pattern) and _agree(tokens, pattern)


def _agree(tokens: Sequence[str], pattern: Sequence[str]) -> bool:
    return all(wanted in (token, ANY) for token, wanted in zip(tokens, pattern, strict=False))


def places_of(payload: Any, pattern: str) -> Iterator[str]:
    """Pointers to the places of `payload` that the pattern names."""
    found: list[tuple[str, Any]] = [("", payload)]
    for wanted in tokens_of(pattern):
        found = [
            (f"{pointer}/{escape(token)}", value[_key(value, token)])
            for pointer, value in found
            for token in _keys(value)
            if wanted in (token, ANY)
        ]
    return (pointer for pointer, _ in found)


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return list(value)
    return [str(index) for index in range(len(value))] if isinstance(value, list) else []


def value_at(value: Any, tokens: Sequence[str]) -> Any:
    """What lies at that place. Raises NoSuchPlace."""
    for token in tokens:
        value = value[_key(value, token)]
    return value


def _key(value: Any, token: str) -> str | int:
    if isinstance(value, dict) and token in value:
        return token
    if isinstance(value, list) and INDEX.fullmatch(token) and int(token) < len(value):
        return int(token)
    raise NoSuchPlace(token)


def _replaced(whole: Any, tokens: Sequence[str], value: Any) -> Any:
    if not tokens:
        return value
    parent = value_at(whole, tokens[:-1])
    parent[_key(parent, tokens[-1])] = value
    return whole


def _schema_errors(answer: Any, schema: Any) -> Iterator[Finding]:
    validator = Draft202012Validator(schema, registry=Registry())  # an empty registry: no reference is fetched
    try:
        for error in validator.iter_errors(answer):
            yield {
                "pointer": "".join(f"/{escape(str(key))}" for key in error.absolute_path),
                "message": words_of_error(error),
            }
    except Unresolvable as exc:
        yield {"pointer": "", "message": f"The schema of the payload names {exc.ref!r}, which is not in it."}
