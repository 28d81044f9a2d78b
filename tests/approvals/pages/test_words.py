"""Payloads in people's words: headings, numbers, what may be changed and what was."""

import re

import pytest

from tests.approvals.looks import url, words
from tests.factories import ask

SCHEMA = {
    "properties": {
        "rows": {
            "title": "KPIs",
            "items": {
                "required": ["kpi", "customer_id", "amount", "change_percent", "since"],
                "properties": {
                    "kpi": {"title": "KPI"},
                    "amount": {"type": "number", "title": "Amount in EUR"},
                    "change_percent": {"type": "number"},
                },
            },
        }
    }
}
ROWS = [
    {"kpi": "revenue", "customer_id": 100234567, "amount": 219345.0, "change_percent": 4.2, "since": 2019},
    {"kpi": "costs", "customer_id": 7, "amount": 9500.0, "change_percent": -1.0, "since": 2020},
]


@pytest.fixture
def kpis(policy):
    payload = {"month": "2026-10", "net_total": 1234567, "rows": ROWS}
    return ask(policy, payload=payload, payload_schema=SCHEMA, editable=["/rows/*/amount"])


def test_only_what_is_editable_is_a_field(site, kpis):
    html = site.get(url(kpis)).content.decode()
    assert re.findall(r'name="edit:([^"]+)" value="([^"]+)"', html) == [
        ("/rows/0/amount", "219345"),
        ("/rows/1/amount", "9500"),
    ]
    assert 'aria-label="Amount in EUR of revenue, row 1"' in html


def test_headings_are_the_schemas_titles_or_the_keys_as_words(site, kpis):
    said = words(site.get(url(kpis)))
    assert "Row KPI Customer id Amount in EUR Change percent Since" in said
    assert "KPIs" in said
    assert "Net total 1,234,567" in said
    assert "change_percent" not in said


def test_numbers_are_parted_where_they_are_text_and_not_where_they_name_something(site, kpis):
    said = words(site.get(url(kpis)))
    assert "100234567" in said
    assert "2019" in said
    kpis.policy.roles = ["builder"]
    kpis.policy.save()
    assert "219,345 4.2 2019" in words(site.get(url(kpis)))  # who may not decide reads
    assert "9,500 -1 2020" in words(site.get(url(kpis)))
    assert b"219345.0" in site.get(f"{url(kpis)}payload.json").content


def test_after_the_decision_the_table_has_what_was_decided_with_what_stood_there(site, kpis):
    sent = {"choice": "continue", "digest": kpis.digest, "edit:/rows/0/amount": "250000", "edit:/rows/1/amount": "9500"}
    assert site.post(url(kpis), sent).status_code == 302
    said = words(site.get(url(kpis)))
    assert said.count("Amount in EUR of revenue") == 2  # in the answer, and among the answers
    assert "Amount in EUR of revenue 219,345 250,000" in said
    assert "Amount in EUR of revenue: 219,345 → 250,000" in said
    assert "revenue 100234567 before: 219,345 now: 250,000 4.2 2019" in said
    assert "costs 7 9,500 -1 2020" in said
    assert "/rows/0/amount" not in said


def test_what_the_answer_added_is_marked_too(site, ada, policy):
    row = ask(policy, payload={"rows": ROWS[:1]}, payload_schema=SCHEMA, editable=["/rows"])
    row.decide(by=ada, choice="continue", digest=row.digest, edits={"/rows": ROWS})
    html = site.get(url(row)).content.decode()
    assert re.findall(r"<ins>.*?<bdi class=\"value\">(.*?)</bdi>", html) == ["costs", "7", "9,500", "-1", "2020"]
    assert "<del><span" not in html


def test_items_of_a_list_are_fields_where_each_may_be_changed(site, policy):
    row = ask(policy, payload={"to_notify": ["ann", "bob"]}, payload_schema=None, editable=["/to_notify/*"])
    html = site.get(url(row)).content.decode()
    assert re.findall(r'name="edit:([^"]+)" value="([^"]+)"', html) == [
        ("/to_notify/0", "ann"),
        ("/to_notify/1", "bob"),
    ]
    site.post(url(row), {"choice": "continue", "digest": row.digest, "edit:/to_notify/1": "eve"})
    row.refresh_from_db()
    assert row.answer == {"to_notify": ["ann", "eve"]}


def test_what_may_be_changed_but_has_no_field_can_be_written_as_json(site, policy):
    payload = {"rows": [{"kpi": "a", "more": {"deep": {"n": 1}}}]}
    row = ask(policy, payload=payload, payload_schema=None, editable=["/rows/*/more/deep/n"])
    assert "Change places that are not shown" in words(site.get(url(row)))
    sent = {"choice": "continue", "digest": row.digest, "edits": '{"/rows/0/more/deep/n": 2}'}
    assert site.post(url(row), sent).status_code == 302
    row.refresh_from_db()
    assert row.answer["rows"][0]["more"]["deep"]["n"] == 2
