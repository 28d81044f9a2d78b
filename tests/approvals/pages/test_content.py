"""Payloads that are hostile, large, or of an odd shape."""

import re

import pytest
from django.utils.html import escape

from tests.approvals.looks import browser, url, words
from tests.factories import ask


def test_hostile_words_stay_words(policy, ada):
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    row = ask(
        policy,
        title=evil,
        payload={"rows": [{evil: evil, "n": 1}], evil: {"a": [evil]}},
        editable=["/rows"],
        payload_schema=None,
        choices=["continue", evil],
        context={"run": "run_x", "step": evil, "definition": evil, "url": "javascript:alert(1)"},
    )
    site = browser(ada)
    for answer in (
        site.get(url(row)),
        site.get("/approvals/"),
        site.post(url(row), {"choice": evil, "digest": "x", "note": evil, f"edit:/rows/0/{evil}": evil + "2"}),
    ):
        assert "<script>alert" not in answer.content.decode()
        assert "<img src=x" not in answer.content.decode()
        assert 'href="javascript' not in answer.content.decode()
        assert escape(evil) in answer.content.decode()
    row.decide(by=ada, choice=evil, digest=row.digest, note=evil)
    done = site.get(url(row)).content.decode()
    assert "<script>alert" not in done
    assert 'href="javascript' not in done


def test_a_payload_of_five_megabytes_is_a_page_of_moderate_size(policy, site):
    rows = [{"kpi": f"kpi {n}", "amount": n, "text": "x" * 200} for n in range(20_000)]
    row = ask(policy, payload={"rows": rows}, payload_schema=None, editable=["/rows"])
    answer = site.get(url(row))
    assert answer.status_code == 200
    assert len(answer.content) < 400_000
    assert "19900 rows more" in words(answer)
    assert b"data-check" not in answer.content
    sent = {
        "choice": "continue",
        "digest": row.digest,
        "edits": '{"/rows/19999/amount": 1}',
        "edit:/rows/0/amount": "5",
    }
    assert site.post(url(row), sent).status_code == 302
    row.refresh_from_db()
    assert [row.answer["rows"][n]["amount"] for n in (0, 1, 19_999)] == [5, 1, 1]
    assert site.get(url(row)).status_code == 200
    whole = site.get(f"{url(row)}payload.json")
    assert len(whole.json()["rows"]) == 20_000


@pytest.mark.parametrize("payload", [None, 12, "text", [], {}, [1, "a"], [[1], {}], {"a": {"b": {"c": {"d": {}}}}}])
def test_payloads_of_any_shape_can_be_decided(policy, site, payload):
    row = ask(policy, payload=payload, payload_schema=None, editable=[""])
    html = site.get(url(row)).content.decode()
    sent = {"choice": "continue", "digest": row.digest}
    for name, value in re.findall(r'name="(edit:[^"]*)"[^>]*? value="([^"]*)"', html):
        sent[name] = value.replace("&quot;", '"')
    assert site.post(url(row), sent).status_code == 302
    row.refresh_from_db()
    assert (row.answer, row.decisions.get().edits) == (payload, {})


def test_a_number_no_schema_knows_may_become_any_number(policy, site):
    row = ask(policy, payload={"n": 12, "none": None, "l": [1]}, payload_schema=None, editable=[""])
    sent = {"choice": "continue", "digest": row.digest, "edit:/n": "12.5", "edit:/none": '"x"', "edit:/l": "[1, 2]"}
    site.post(url(row), sent)
    row.refresh_from_db()
    assert row.answer == {"n": 12.5, "none": "x", "l": [1, 2]}
