"""A JSON Schema in words, for people who do not read JSON Schema: one row a field."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema.exceptions import ValidationError as SchemaError

MOST_FIELDS = 100
DEEPEST = 4
KINDS = {"string": "text", "integer": "whole number", "boolean": "yes or no", "null": "nothing", "array": "list"}
FORMATS = {
    "date": "date",
    "month": "month",
    "date-time": "date and time",
    "email": "e-mail address",
    "uri": "address (URL)",
}
LIMITS = (
    ("minLength", "at least {} signs"),
    ("maxLength", "at most {} signs"),
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("exclusiveMinimum", "more than {}"),
    ("exclusiveMaximum", "less than {}"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
)
A_KIND = KINDS | {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object: names with values",
}
LONGEST_MESSAGE = 300
WORDS_OF_RULES = {
    "minLength": "At least {} signs.",
    "maxLength": "At most {} signs.",
    "minimum": "At least {}.",
    "maximum": "At most {}.",
    "exclusiveMinimum": "More than {}.",
    "exclusiveMaximum": "Less than {}.",
    "minItems": "At least {} of them.",
    "maxItems": "At most {} of them.",
    "multipleOf": "A multiple of {}.",
    "const": "This must be {}.",
    "uniqueItems": "None of them may stand there twice.",
    "anyOf": "This has none of the forms that are asked for.",
    "oneOf": "This has none of the forms that are asked for, or more than one.",
}


@dataclass(frozen=True, slots=True)
class Field:
    """`path` reads `rows[].amount`; `words` is its kind and limits."""

    path: str
    title: str
    words: str
    is_required: bool
    description: str
    pattern: str = ""  # as it is written, for who reads such


def fields_of(schema: Any) -> list[Field]:
    """Its fields in their order, at most a hundred; empty if the schema names none."""
    found = []
    for field in _fields(schema, "", 0):
        found.append(field)
        if len(found) == MOST_FIELDS:
            break
    return found


def _fields(schema: Any, above: str, depth: int) -> Iterator[Field]:
    if not isinstance(schema, Mapping) or depth >= DEEPEST:
        return
    properties = schema.get("properties")
    required = schema.get("required") if isinstance(schema.get("required"), list) else []
    for name, each in properties.items() if isinstance(properties, Mapping) else ():
        inner: Mapping[str, Any] = each if isinstance(each, Mapping) else {}
        path = f"{above}{name}"
        title = str(inner.get("title") or "")
        description, pattern = str(inner.get("description") or ""), str(inner.get("pattern") or "")
        yield Field(path, title, words_of(inner), name in (required or ()), description, pattern)
        yield from _fields(inner, f"{path}.", depth + 1)
        yield from _fields(inner.get("items"), f"{path}[].", depth + 1)


def words_of(schema: Any) -> str:
    """ "text, at most 20 signs, for example 2026-10"; "anything" if it says nothing."""
    if not isinstance(schema, Mapping):
        return "nothing" if schema is False else "anything"
    if "const" in schema:
        return f"always {schema['const']}"
    if isinstance(schema.get("enum"), list):
        return "one of " + ", ".join(str(value) for value in schema["enum"][:20])
    parts = [_kind(schema)]
    parts += [words.format(schema[key]) for key, words in LIMITS if key in schema]
    if "default" in schema:
        parts.append(f"otherwise {schema['default']}")
    examples = schema.get("examples")
    if isinstance(examples, list) and examples:
        parts.append(f"for example {examples[0]}")
    elif "pattern" in schema:
        parts.append("of one form")
    return ", ".join(parts)


def words_of_error(error: SchemaError) -> str:
    """What is wrong with a value at its place, for people: no regular expression, and not the value once more."""
    rule: Any = error.validator_value
    value: Any = error.instance
    match error.validator:
        case "type":
            kinds = [rule] if isinstance(rule, str) else rule
            words = f"This must be {' or '.join(A_KIND.get(kind, str(kind)) for kind in kinds)}."
        case "pattern":
            words = form_wanted(error.schema)
        case "enum":
            words = f"This must be one of {', '.join(str(value) for value in rule[:20])}."
        case "format":
            words = f"This is not a valid {FORMATS.get(rule, rule)}."
        case "required":
            words = f"It needs {error.message.removesuffix(' is a required property')}."
        case "additionalProperties" if "regex" in error.message:
            words = "It has a member whose name does not have the form that is asked for."
        case "additionalProperties":
            known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
            words = f"It may not have {', '.join(repr(key) for key in value if key not in known)}."
        case _:
            said = WORDS_OF_RULES.get(str(error.validator))
            words = said.format(rule) if said else f"{error.message}."
    return words if len(words) <= LONGEST_MESSAGE else words[: LONGEST_MESSAGE - 1] + "…"


def form_wanted(schema: Any) -> str:
    """What a text is to look like that broke the schema's pattern, by an example, else by what it is called."""
    schema = schema if isinstance(schema, Mapping) else {}
    examples = schema.get("examples")
    if isinstance(examples, list) and examples and isinstance(examples[0], str):
        return f"This must look like {examples[0]}."
    for key, words in (("description", "This is not what is asked for: {}"), ("title", "This does not look like: {}")):
        if isinstance(schema.get(key), str) and schema[key].strip():
            return words.format(schema[key].strip().rstrip(".")) + "."
    return "This does not have the form that is asked for."


def _kind(schema: Mapping[str, Any]) -> str:
    named = schema.get("type")
    kinds = named if isinstance(named, list) else [named] if isinstance(named, str) else []
    if not kinds:
        return "anything"
    if kinds == ["string"] and schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    if kinds == ["array"] and isinstance(schema.get("items"), Mapping) and "type" in schema["items"]:
        return f"list of: {_kind(schema['items'])}"
    return " or ".join(KINDS.get(kind, str(kind)) for kind in kinds)
