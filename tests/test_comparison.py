"""docs/comparison.md says what is so."""

import re

from tests.harness import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text()
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if re.match(r"\| b?\d+ \|", line)
]
SCOPE = [*range(1, 11), *range(13, 40), *range(51, 55), 56, 58, 61, 63, 64]
UNMET = ["b11", "b13", "b14", "b15", "b17", "b18"]


def test_each_row_of_the_scope_is_there_once():
    assert [row[0] for row in ROWS] == [*map(str, SCOPE), *UNMET]


def test_what_is_here_is_shown_by_tests_and_pages_that_are_here():
    tests = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))))
    for row in ROWS:
        mark, here, shown = row[-3:]
        named = re.findall(r"`(test_\w+)`", shown)
        assert set(named) <= tests, row
        assert mark in ("●", "◐", "–"), row
        assert bool(here) is (mark != "–"), row
        assert mark != "●" or named or "](" in shown, row
