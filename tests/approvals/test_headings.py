"""What the places of a payload are called for people."""

import pytest

from approvals.changes import changes_between
from approvals.headings import heading_of, place_in_words

SCHEMA = {
    "properties": {
        "rows": {
            "title": "KPIs",
            "items": {"properties": {"amount": {"type": "number", "title": "Amount in EUR"}, "since": {"title": " "}}},
        }
    }
}
ROW = {"title": "Revenue", "amount": 9500, "since": 2026, "more": {"deep": [1]}}


@pytest.mark.parametrize(
    ("payload", "pointer", "words"),
    [
        ({"rows": [ROW]}, "/rows/0/amount", "Amount in EUR of Revenue"),
        ({"rows": [ROW]}, "/rows/0/since", "Since of Revenue"),
        ({"rows": [ROW]}, "/rows/0", "Revenue"),
        ({"rows": [ROW]}, "/rows/1", "row 2"),
        ({"rows": [ROW, ROW]}, "/rows/1/amount", "Amount in EUR of Revenue, row 2"),
        ({"rows": [{"amount": 1}]}, "/rows/0/amount", "Amount in EUR of row 1"),
        ({"rows": [ROW], "plan": [ROW]}, "/plan/0/amount", "Plan › Amount of Revenue"),
        ({"rows": [ROW], "plan": [ROW]}, "/rows/0/amount", "KPIs › Amount in EUR of Revenue"),
        ({"rows": [ROW]}, "/rows/0/more/deep/0", "KPIs › Revenue › More › Deep › row 1"),
        ([ROW], "/0/amount", "Amount of Revenue"),
        ({"by_team": {"red": {"head_count": 1}}}, "/by_team/red/head_count", "By team › Red › Head count"),
        ({"a": 1}, "/a", "A"),
        ({"a": 1}, "", "All of it"),
        ({"a": 1}, "/b/c", "/b/c"),
        ({"a": 1}, "no pointer", "no pointer"),
        (5, "/a", "A"),
    ],
)
def test_a_place_has_the_name_of_its_row_and_the_heading_of_its_column(payload, pointer, words):
    assert place_in_words(payload, SCHEMA, pointer) == words


def test_a_heading_is_the_schemas_title_else_the_key_as_words():
    assert heading_of(SCHEMA, ["rows", "0", "amount"]) == "Amount in EUR"
    assert heading_of(None, ["rows", "0", "change_percent"]) == "Change percent"


def test_a_change_is_told_as_people_read_it():
    after = {**ROW, "amount": 250000, "since": 2027, "more": {}}
    changes, left = changes_between({"rows": [ROW]}, {"rows": [after, ROW]}, SCHEMA)
    assert [(change.place, change.word, change.before, change.after) for change in changes][:2] == [
        ("Amount in EUR of Revenue, row 1", "changed", "9,500", "250,000"),
        ("Since of Revenue, row 1", "changed", "2026", "2027"),
    ]
    assert [(change.place, change.word) for change in changes][2:] == [
        ("More › Deep of Revenue", "removed"),
        ("Revenue, row 2", "added"),
    ]
    assert left == 0
