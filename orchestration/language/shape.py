"""The shape of a definition: what its JSON Schema refuses, in words of the language."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator

from ui.schema_words import words_of_error

from .draft import Draft
from .findings import did_you_mean
from .nodes import Where
from .schema import KINDS, SCHEMA, STEP_KEYS

LATEST = "This version does not have it."
HOW_TO_WRITE = {
    "object": "Write its keys below it, each on a line of its own.",
    "array": "Write a list, such as [a, b].",
    "string": "Write a text; in quotes if it reads as something else.",
    "boolean": "Write true or false.",
    "integer": "Write a whole number.",
    "number": "Write a number.",
}


def check_shape(draft: Draft) -> None:
    for error in Draft202012Validator(SCHEMA).iter_errors(draft.root.value):
        find_error(draft, error)


def find_error(draft: Draft, error: Any) -> None:
    path = list(error.absolute_path)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator == "additionalProperties":
        known = schema["properties"]
        for key in error.instance:
            if key not in known:
                find_unknown_key(draft, [*path, key], known, schema.get("x-later", ()))
    elif error.validator == "required":
        missing = next(key for key in error.validator_value if f"'{key}' is a required" in error.message)
        above = [part for part in path if not isinstance(part, int)]
        place = f"{above[-1]} needs" if above else "A definition needs"
        draft.find_key(path, "missing-key", f"{place} {missing}.", f"Add {missing}:.")
    elif "x-one-of" in schema and error.validator == "oneOf":
        find_kinds(draft, path, error.instance)
    elif "propertyNames" in error.absolute_schema_path:
        message = f"{error.instance} cannot be a {schema['x-called']}'s name."
        draft.find_key([*path, error.instance], schema["x-rule"], message, schema["x-fix"])
    elif nearest := _of_the_form_meant(error):
        for one in nearest:
            find_error(draft, one)
    else:
        rule = schema.get("x-rule", "shape")
        words = words_of_error(error)
        names = [part for part in path if not isinstance(part, int)]
        message = f"{names[-1]}: {words[0].lower()}{words[1:]}" if names else words
        draft.find(path, rule, message, schema.get("x-fix") or _fix(error))


def find_unknown_key(draft: Draft, path: Where, known: Collection[str], later: Collection[str]) -> None:
    key = str(path[-1])
    if key in later:
        draft.find_key(path, "not-in-this-version", f"{key}: {LATEST}", f"Take {key} out.")
    else:
        draft.find_key(path, "unknown-key", f"{key} is not a key of the language here.", did_you_mean(key, known))


def find_kinds(draft: Draft, path: Where, step: Any) -> None:
    if not isinstance(step, dict):
        return
    said = [STEP_KEYS[kind]["x-kind"] for kind in KINDS if kind in step]
    if said:
        message = f"{path[-1]} is both {' and '.join(said)}."
        draft.find_key(path, "step-kind", message, "Make two steps of it.")
    elif not any(key in step for key in SCHEMA["$defs"]["step"]["x-later"]):
        message = f"{path[-1]} says none of {', '.join(KINDS)}."
        draft.find_key(path, "step-kind", message, f"Add one of them, such as {KINDS[0]}:.")


def _of_the_form_meant(error: Any) -> Sequence[Any]:
    """Of a value that may have several forms: what is wrong with the one of its type, if just one has that."""
    if error.validator not in ("anyOf", "oneOf"):
        return ()
    wrong: dict[int, list[Any]] = {}
    for one in error.context:
        wrong.setdefault(one.relative_schema_path[0], []).append(one)
    meant = [
        found
        for found in wrong.values()
        if not any(one.validator in ("type", "const", "enum") and not one.relative_path for one in found)
    ]
    return meant[0] if len(meant) == 1 else ()


def _fix(error: Any) -> str:
    if error.validator == "enum":
        return did_you_mean(str(error.instance), [str(value) for value in error.validator_value])
    kinds = error.validator_value if error.validator == "type" else ()
    return HOW_TO_WRITE.get(
        kinds if isinstance(kinds, str) else next(iter(kinds), ""), "See the reference of the language."
    )
