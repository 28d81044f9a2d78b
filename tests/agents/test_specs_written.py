"""A spec written as YAML says what it said."""

import pytest

from agents import specs
from agents.exceptions import InvalidSpec

ODD = [
    "2026-10-01",
    "yes",
    "12:30",
    "1e3",
    "0x1",
    "~",
    "#c",
    "a: b",
    "a #b",
    "!t",
    "%x",
    "a, b",
    "[",
    " lead\nx",
    "x \ny",
]
ODD += ["\n", "a\n\n b\n", "a\nb\n\n", "x\n   deep\ny", "a\n---\nb", "tab\tx\ny", "x\r\ny", "\u2028x\ny", "é😀\nש"]


@pytest.mark.parametrize("text", ODD)
def test_any_text_comes_back(text):
    spec = {"name": "x", "configuration": {"v": text, text: 1, "list": [text, 1, None], "deep": [[text], {"a": []}]}}
    assert specs.read(specs.write(spec)) == spec


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [*x]",
        "a: &x {b: *x}",
        "\n".join(["a0: &a0 [1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))]),
        "[" * 60 + "]" * 60,
    ],
)
def test_aliases_that_grow_without_bound_are_refused(text):
    with pytest.raises(InvalidSpec, match="At most 20000 values"):
        specs.read(text)
