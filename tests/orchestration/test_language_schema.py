"""The language's JSON Schema is whole, and the compiler knows each of its keys."""

import pytest
from jsonschema import Draft202012Validator

from orchestration.language import KEYS, SCHEMA, steps, top
from orchestration.language.durations import seconds_in
from orchestration.language.schema import KINDS, STEP_KEYS

PIECES = [*SCHEMA["properties"].items(), *STEP_KEYS.items()]


def test_every_key_of_a_step_is_known_to_the_compiler_and_to_nobody_else():
    assert set(steps.KEYS) == set(STEP_KEYS)
    assert set(steps.KINDS) == set(KINDS) == set(SCHEMA["$defs"]["step"]["x-one-of"])
    assert set(top.KEYS) <= set(SCHEMA["properties"])
    known = {*KINDS, *SCHEMA["$defs"]["step"]["x-later"]}
    assert all(set(piece.get("x-kinds", ())) <= known for piece in STEP_KEYS.values())


@pytest.mark.parametrize(("key", "piece"), PIECES, ids=[key for key, _ in PIECES])
def test_every_key_is_described_and_its_examples_are_right(key, piece):
    assert piece["description"].endswith(".")
    errors = Draft202012Validator({**piece, "$defs": SCHEMA["$defs"]})
    assert [error.message for example in piece["examples"] for error in errors.iter_errors(example)] == []


def test_the_keys_for_an_editor_are_those_of_every_place():
    assert {"name", "agent", "attempts", "editable", "after"} <= KEYS
    assert "month" not in KEYS  # of an example


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1500ms", 1.5), ("30s", 30), ("0.5h", 1800), ("9999w", 9999 * 604800), ("10000w", None), ("1e3s", None)],
)
def test_a_duration_is_a_number_and_a_unit_and_no_longer_than_the_database_can_count(text, seconds):
    assert seconds_in({"after": text}, "after") == seconds
