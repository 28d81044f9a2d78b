"""Texts by their lines, what differs between two, and JSON Schemas in words."""

from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator

from ui.differences import MOST_LINES, difference
from ui.schema_words import MOST_FIELDS, fields_of, form_wanted, words_of, words_of_error
from ui.sources import source_lines


def test_a_difference_names_the_lines_on_both_sides():
    before = "\n".join("abcdefghij")
    found = difference(before, before.replace("j", "J").replace("a\n", ""))
    assert (found.added, found.removed) == (1, 2)
    assert [(line.sign, line.before, line.after, line.text) for line in found.lines if line.sign != " "] == [
        ("-", 1, None, "a"),
        ("…", None, None, "line 7"),
        ("-", 10, None, "j"),
        ("+", None, 9, "J"),
    ]


def test_the_same_differs_in_nothing_and_what_is_too_long_is_not_compared():
    assert difference("a", "a").is_empty
    assert difference("", "a\n" * MOST_LINES).too_long


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"examples": ["2026-10"], "description": "A month."}, "This must look like 2026-10."),
        ({"examples": [7], "description": "A month."}, "This is not what is asked for: A month."),
        ({"title": "Month"}, "This does not look like: Month."),
        ({}, "This does not have the form that is asked for."),
    ],
)
def test_a_broken_pattern_is_told_in_words(schema, words):
    assert form_wanted({**schema, "pattern": "^x$"}) == words


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ({"minimum": 0}, -3, "At least 0."),
        ({"type": ["string", "null"]}, 7, "This must be text or nothing."),
        ({"pattern": "^[a-z]{3}$", "examples": ["abc"]}, "7", "This must look like abc."),
        ({"propertyNames": {"pattern": "^[a-z]$"}}, {"AB": 1}, "This does not have the form that is asked for."),
        (
            {"patternProperties": {"^x_": {}}, "additionalProperties": False},
            {"y": 1},
            "It has a member whose name does not have the form that is asked for.",
        ),
        ({"required": ["{}"]}, {}, "It needs '{}'."),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a": 1, "b": 2}, "It may not have 'b'."),
        ({"enum": ["a", 2]}, "c", "This must be one of a, 2."),
        ({"anyOf": [{"type": "string"}, {"minimum": 7}]}, 1, "This has none of the forms that are asked for."),
    ],
)
def test_what_a_schema_refuses_is_told_in_words(schema, value, words):
    [error] = Draft202012Validator(schema).iter_errors(value)
    assert words_of_error(error) == words


def test_findings_lie_at_their_lines_and_those_beyond_at_the_last():
    found = [SimpleNamespace(line=line, severity="error", message=str(line)) for line in (0, 2, 99)]
    lines = source_lines("a\nb\nc\n", found)
    assert [[each.message for each in line.findings] for line in lines] == [["0"], ["2"], ["99"]]
    assert [line.text for line in source_lines("")] == [""]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (True, "anything"),
        (False, "nothing"),
        ({}, "anything"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "minLength": 1, "maxLength": 5}, "text, at least 1 signs, at most 5 signs"),
        ({"type": ["number", "null"], "minimum": 0}, "number or nothing, at least 0"),
        ({"enum": ["a", 1, None]}, "one of a, 1, None"),
        ({"type": "string", "pattern": "^a+$"}, "text, of one form"),
        ({"type": "string", "pattern": "^a+$", "examples": ["aa"]}, "text, for example aa"),
        ({"const": 3}, "always 3"),
        ({"type": "array", "items": {"type": "integer"}}, "list of: whole number"),
        ({"type": "boolean", "default": True}, "yes or no, otherwise True"),
    ],
)
def test_a_schema_is_said_in_words(schema, words):
    assert words_of(schema) == words


def test_fields_of_lists_and_objects_are_named_by_their_path():
    rows = {"type": "array", "items": {"type": "object", "properties": {"amount": {"type": "number"}}}}
    schema = {"required": ["rows"], "properties": {"rows": rows, "who": {"properties": {"name": True}}}}
    assert [(field.path, field.is_required) for field in fields_of(schema)] == [
        ("rows", True),
        ("rows[].amount", False),
        ("who", False),
        ("who.name", False),
    ]


@pytest.mark.parametrize("odd", [None, True, [], "x", {"properties": []}, {"properties": {"a": 1}, "required": 3}])
def test_what_names_no_fields_has_none_or_harmless_ones(odd):
    assert len(fields_of(odd)) <= 1


def test_a_schema_without_end_is_told_in_part():
    loop = {"type": "object", "properties": {}}
    loop["properties"] |= {f"f{n}": loop for n in range(50)}
    assert len(fields_of(loop)) == MOST_FIELDS
