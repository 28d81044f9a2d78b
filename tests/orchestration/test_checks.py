import pytest

from orchestration.engine.checks import Check

OBJECT = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (OBJECT, {"n": 2**80}, {"n": -1}),
        ({"pattern": r"^(?i:yes)\Z"}, "YES", "no"),  # \Z is Python's alone
        ({"pattern": "^é+$"}, "éé", "e"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"const": 1}}}, 1.0, 2),
        ({"type": "string", "format": "date"}, "words", 1),  # formats are notes, as the draft has them
        (False, None, 1),
        (None, "anything", None),
    ],
)
def test_a_schema_accepts_what_it_should_and_says_what_it_should_not(schema, good, bad):
    check = Check(schema)
    if schema is not False:
        assert check.errors(good, "") == []
    if schema is not None:
        assert check.errors(bad, "/with")[0]["message"]


def test_an_error_names_the_place_and_all_are_told_in_order():
    found = Check({"items": OBJECT}).errors([{}, {"n": "x"}, {"n": 1}], "/input")
    assert [error["pointer"] for error in found] == ["/input/0", "/input/1/n"]


def test_what_cannot_be_read_quickly_is_judged_all_the_same():
    half_a_character = "\ud800"
    assert Check({"type": "string"}).errors(half_a_character, "") == []
    assert Check({"type": "integer"}).errors(half_a_character, "")
