"""Places of a checkpoint that follow from others: before people are asked, while they type, and after."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from approvals.exceptions import InvalidAnswer
from orchestration.language.derived import Derived, NotDerivable
from orchestration.testkit.fixtures import play
from tests.approvals.looks import as_it_is, browser, url, words

__all__ = ["play"]

ORDER = """
name: order
input:
  type: object
  properties:
    count: {type: integer}
    lines:
      type: array
      items:
        type: object
        properties: {name: {type: string}, count: {type: integer}, price: {type: number}, sum: {type: [number, "null"]}}
steps:
  check:
    approval:
      title: The order
      show: {lines: "${{ input.lines }}", total: 0, share: 0}
      editable: [/lines/*/count, /lines/*/price]
      derived:
        /lines/*/sum: "${{ double(this.count) * this.price }}"
        /total: "${{ output.lines.map(line, line.sum)[0] + output.lines.map(line, line.sum)[1] }}"
        /share: "${{ 100 / output.lines[0].count }}"
output: "${{ steps.check.output }}"
"""
LINES = [
    {"name": "Pens", "count": 2, "price": 1.5, "sum": None},
    {"name": "Ink", "count": 1, "price": 7.0, "sum": None},
]


@pytest.fixture
def run(play):
    return play(ORDER).start({"lines": LINES})


@pytest.fixture
def site(run):
    return browser(run.play.people["approver"])


def typed(row, **changes):
    """What the page sends: nothing is a field but counts and prices."""
    sent = {"digest": row.digest, "note": ""}
    for index, line in enumerate(row.payload["lines"]):
        sent |= {f"edit:/lines/{index}/{name}": str(line[name]) for name in ("count", "price")}
    return sent | {f"edit:{pointer}": value for pointer, value in changes.items()}


def sums(payload):
    return [line["sum"] for line in payload["lines"]], payload["total"], payload["share"]


def test_people_are_asked_with_it_and_it_goes_on_as_it_follows_from_what_they_left(run):
    row = run.question("check")
    assert sums(row.payload) == ([3.0, 7.0], 10.0, 50)
    run.answer("check", edits={"/lines/0/count": 4})
    assert run.status == "completed"
    assert sums(run.output) == ([6.0, 7.0], 13.0, 25)


def test_an_answer_without_edits_is_what_was_shown(run):
    shown = run.question("check").payload
    run.answer("check")
    assert run.output == shown


def test_what_cannot_be_worked_out_refuses_the_answer(run, site):
    row = run.question("check")
    with pytest.raises(InvalidAnswer) as refused:
        run.answer("check", edits={"/lines/0/count": 0})
    (error,) = refused.value.errors
    assert error["pointer"] == "/share"
    assert "cannot be worked out" in error["message"]
    assert as_it_is(row) == ("pending", None, None, 0)
    answer = site.post(url(row), typed(row, **{"/lines/0/count": "0"}) | {"choice": "continue"})
    assert answer.status_code == 400
    assert "Share: This follows from the rest, and cannot be worked out" in words(answer)
    assert as_it_is(row) == ("pending", None, None, 0)


def test_what_follows_may_not_be_edited(run):
    row = run.question("check")
    with pytest.raises(InvalidAnswer):
        run.answer("check", edits={"/total": 1})
    assert as_it_is(row) == ("pending", None, None, 0)


def test_nobody_is_asked_what_cannot_be_worked_out(play):
    run = play(ORDER).start({"lines": [{**LINES[0], "count": 0}, LINES[1]]})
    assert (run.status, run.error["class"], run.error["step"]) == ("failed", "expression", "check")


def test_the_check_tells_what_follows_from_what_is_typed_and_keeps_nothing(run, site):
    row = run.question("check")
    told = site.post(f"{url(row)}check/", typed(row, **{"/lines/0/count": "1000"})).json()
    assert told == {
        "errors": [],
        "derived": [
            {"pointer": "/total", "before": "10", "now": "1,507"},
            {"pointer": "/share", "before": "50", "now": "0"},
            {"pointer": "/lines/0/sum", "before": "3", "now": "1,500"},
            {"pointer": "/lines/1/sum", "before": "", "now": "7"},
        ],
    }
    told = site.post(f"{url(row)}check/", typed(row, **{"/lines/0/count": "0"})).json()
    assert [error["pointer"] for error in told["errors"]] == ["/share"]
    assert "derived" not in told
    assert as_it_is(row) == ("pending", None, None, 0)


def test_without_scripts_a_button_shows_what_follows_and_decides_nothing(run, site):
    row = run.question("check")
    assert '<noscript><p><button name="look"' in site.get(url(row)).content.decode()
    answer = site.post(url(row), typed(row, **{"/lines/0/count": "4"}) | {"look": "1"})
    assert answer.status_code == 200
    assert "before: 3 now: 6" in words(answer)
    assert "before: 10 now: 13" in words(answer)
    assert 'value="4"' in answer.content.decode()
    answer = site.post(url(row), typed(row, **{"/lines/0/count": "0"}) | {"look": "1"})
    assert "cannot be worked out" in words(answer)
    assert as_it_is(row) == ("pending", None, None, 0)


def test_the_admin_shows_what_follows_too_and_decides_nothing_by_it(run, site):
    row = run.question("check")
    path = f"/admin/approvals/request/{row.pk}/decide/"
    User.objects.filter(pk=run.play.people["approver"].user_id).update(is_staff=True)
    answer = site.post(path, typed(row, **{"/lines/0/count": "4"}) | {"look": "1"})
    assert answer.status_code == 200
    assert "before: 10 now: 13" in words(answer)
    assert as_it_is(row) == ("pending", None, None, 0)


def test_afterwards_it_is_told_apart_from_what_was_changed(run, site):
    row = run.question("check")
    with CaptureQueriesContext(connection) as open_page:
        site.get(url(row))
    site.post(url(row), typed(row, **{"/lines/0/count": "4"}) | {"choice": "continue"})
    with CaptureQueriesContext(connection) as decided_page:
        page = words(site.get(url(row)))
    assert "Count of Pens 2 4" in page
    assert "Sum of Pens follows 3 6" in page
    assert "Total follows 10 13" in page
    assert max(len(open_page), len(decided_page)) <= 15


@pytest.mark.parametrize(
    ("rules", "payload", "found"),
    [
        (
            [["/b", "${{ this.a + 1 }}"], ["/c", "${{ this.b + 1 }}"]],
            {"a": 1, "b": 0, "c": 0},
            {"a": 1, "b": 2, "c": 3},
        ),
        ([["/*/n", "${{ output.x.n + 1 }}"]], {"x": {"n": 1}, "y": {"n": 5}}, {"x": {"n": 2}, "y": {"n": 2}}),
        ([["/l/*", "${{ size(this) }}"]], {"l": [7, 8, 9]}, {"l": [3, 3, 3]}),
        ([["/l/*/n", "${{ 1 }}"]], {"l": [{"n": 7}, {"m": 8}]}, {"l": [{"n": 1}, {"m": 8}]}),
        ([["/b", "of ${{ this.a }}"]], {"a": 1, "b": ""}, {"a": 1, "b": "of 1"}),
        ([["/none", "${{ 1 }}"]], None, None),
    ],
)
def test_places_are_worked_out_in_the_order_written_where_they_exist(rules, payload, found):
    before = repr(payload)
    assert Derived(rules, None).applied(payload) == found
    assert repr(payload) == before


def test_more_places_than_are_taken_are_refused():
    with pytest.raises(NotDerivable, match="too many"):
        Derived([["/l/*", 1]], None).applied({"l": [0] * 10_001})
