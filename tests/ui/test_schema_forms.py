"""Forms drawn from a JSON Schema."""

import pytest
from django.http import QueryDict

from ui.schema_forms import SchemaForm

ORDER = {
    "type": "object",
    "required": ["month", "count", "rows"],
    "properties": {
        "month": {"type": "string", "pattern": "^\\d{4}-\\d{2}$", "title": "Month", "examples": ["2026-10"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": "number", "default": 0.5},
        "urgent": {"type": "boolean", "description": "Before all others"},
        "size": {"enum": ["small", "large", 3]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "numbers": {"type": "array", "items": {"type": "integer"}},
        "rows": {"type": "array", "items": {"type": "object"}},
        "day": {"type": "string", "format": "date"},
        "text": {"$ref": "#/$defs/text"},
        "odd name": {"type": ["string", "null"], "maxLength": 3},
    },
    "$defs": {"text": {"type": "string", "description": "Any words"}},
}
TYPED = {
    "month": "2026-10",
    "count": "3",
    "share": "1.5",
    "urgent": "on",
    "size": "3",
    "tags": "a\r\n\r\n b ",
    "numbers": "1\r\n2",
    "rows": '[{"a": 1e2}]',
    "day": "2026-11-21",
    "text": "one\r\ntwo",
    "field-10": "abc",
}


def form_of(**changes):
    data = QueryDict(mutable=True)
    data.update({key: value for key, value in (TYPED | changes).items() if value is not None})
    return SchemaForm(ORDER, data)


def test_what_was_typed_comes_out_as_plain_json():
    form = form_of()
    assert form.is_valid(), form.errors
    assert form.value() == {
        **{"month": "2026-10", "count": 3, "share": 1.5, "urgent": True, "size": 3, "tags": ["a", "b"]},
        **{"numbers": [1, 2], "rows": [{"a": 100.0}], "day": "2026-11-21", "text": "one\ntwo", "odd name": "abc"},
    }
    assert type(form.value()["count"]) is int


def test_what_was_left_empty_is_absent():
    form = form_of(share="", urgent=None, size="", tags="", numbers="", day="", text="", **{"field-10": ""})
    assert form.is_valid(), form.errors
    assert form.value() == {"month": "2026-10", "count": 3, "urgent": False, "rows": [{"a": 100.0}]}


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("month", "", "This field is required."),
        ("month", "October", "This must look like 2026-10."),
        ("count", "10", "At most 9."),
        ("count", "1.5", "Write a whole number."),
        ("share", "nan", "Write a number"),
        ("share", "9" * 5000, "Write a number"),
        ("size", "huge", "Choose one of those offered."),
        ("numbers", "1\nx", "Line 2: Write a number"),
        ("rows", "[1]", "0: This must be an object: names with values."),
        ("rows", "[", "Line 1, column 2 is no JSON"),
        ("rows", "[" * 100_000, "This is no JSON."),
        ("rows", "[NaN]", "This is no JSON."),
        ("text", "a\0b", "Null characters are not allowed."),
        ("field-10", "abcd", "At most 3 signs."),
    ],
)
def test_each_error_is_at_its_field_and_what_was_typed_stays(field, typed, words):
    form = form_of(**{field: typed})
    assert not form.is_valid()
    assert list(form.errors) == [field]
    assert words in form.errors[field][0]
    assert form[field].value() in (typed, None) or "\0" in typed


def test_findings_of_a_verb_land_at_their_fields():
    form = form_of()
    form.is_valid()
    form.add_findings([("/odd name", "Too odd."), ("/rows/0/a", "Too large."), ("", "Not now."), ("/zz", "Unknown.")])
    assert form.errors["field-10"] == ["Too odd."]
    assert form.errors["rows"] == ["0/a: Too large."]
    assert form.non_field_errors() == ["Not now.", "zz: Unknown."]


def test_the_page_says_what_is_wanted():
    html = str(SchemaForm(ORDER)["month"])
    assert 'pattern="\\d{4}-\\d{2}"' in html
    assert "placeholder" not in html  # it would look like a value
    assert SchemaForm(ORDER)["month"].help_text.endswith("For example 2026-10")
    assert "required" in html
    assert 'value="0.5"' in str(SchemaForm(ORDER)["share"])
    assert 'type="date"' in str(SchemaForm(ORDER)["day"])
    assert SchemaForm(ORDER)["text"].help_text == "Any words"
    filled = SchemaForm(ORDER, initial={"rows": [{"a": 1}], "tags": ["a", "b"], "urgent": True, "beside": 1})
    assert "checked" in str(filled["urgent"])
    assert "a\nb</textarea>" in str(filled["tags"])
    assert "beside" in str(filled["more"])


def drawn(schema, **given):
    return str(SchemaForm({"type": "object", "properties": {"at": {"type": "string", **schema}}}, **given)["at"])


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"format": "month"}, "month"),
        ({"pattern": "^\\d{4}-\\d{2}$"}, "month"),
        ({"pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"}, "month"),
        ({"format": "date"}, "date"),
        ({"pattern": "^\\d{4}-\\d{2}-\\d{2}$"}, "date"),
        ({"pattern": "\\d{4}-\\d{2}"}, "text"),
        ({"pattern": "^\\d{4}$"}, "text"),
    ],
)
def test_months_and_days_are_asked_for_with_a_field_of_their_own(schema, kind):
    assert f'type="{kind}"' in drawn(schema)


def test_where_a_browser_knows_no_months_pattern_and_hint_say_what_is_wanted():
    assert 'pattern="\\d{4}-\\d{2}"' in drawn({"format": "month"})
    assert 'title="Year and month, such as 2026-10."' in drawn({"format": "month"})
    assert 'pattern="\\d{4}-(0[1-9]|1[0-2])"' in drawn({"pattern": "^\\d{4}-(0[1-9]|1[0-2])$"})
    form = SchemaForm({"type": "object", "properties": {"at": {"type": "string", "format": "month"}}})
    assert form["at"].help_text == "Year and month, such as 2026-10."


@pytest.mark.parametrize(
    ("value", "kind"), [("2026-10", "month"), ("2026-13", "text"), ("October", "text"), ("20261001", "text")]
)
def test_what_is_no_month_is_shown_as_it_was_typed(value, kind):
    for given in ({"initial": {"at": value}}, {"data": {"at": value}}):
        html = drawn({"format": "month"}, **given)
        assert f'type="{kind}"' in html
        assert f'value="{value}"' in html


@pytest.mark.parametrize("schema", [True, {}, {"type": "object"}, {"type": "array"}, None])
def test_a_schema_without_properties_takes_json(schema):
    form = SchemaForm(schema, {"value": '{"a": 1}' if schema != {"type": "array"} else "[1]"})
    assert form.is_valid(), form.errors
    assert form.value() in ({"a": 1}, [1])


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("Just words, 12 of them", "Just words, 12 of them"),
        ('{"a": [1]}', {"a": [1]}),
        ("[1, 2]", [1, 2]),
        ("{not json", "{not json"),
        ("12", "12"),
        ("true", "true"),
        ('"[1]"', "[1]"),
    ],
)
def test_words_are_words_where_json_is_allowed_too(typed, value):
    schema = {"type": "object", "properties": {"text": {"type": ["string", "object", "array"]}}}
    form = SchemaForm(schema, {"text": typed})
    assert form.is_valid(), form.errors
    assert form.value() == {"text": value}
    shown = SchemaForm(schema, initial=form.value())["text"].value()
    assert SchemaForm(schema, {"text": shown}).fields["text"].value_of(shown) == value


@pytest.mark.parametrize("texts", [["a", "b"], ["a\nb", "", "  c"], ["[1]", "b"], ["x\u2028y"], [], [""], ["\r"]])
def test_a_list_of_texts_comes_back_as_it_was(texts):
    schema = {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}}
    shown = SchemaForm(schema, initial={"names": texts})["names"].value()
    data = QueryDict(mutable=True)
    data["names"] = shown
    sent = SchemaForm(schema, data)
    assert sent.is_valid(), sent.errors
    assert sent.value().get("names", []) == texts
