"""The page of a question: its form, and the answer it gives."""

import re

from django.test import Client

from tests.approvals.looks import PAYLOAD, SCHEMA, UNTOUCHED, as_it_is, browser, form_of, url, words
from tests.factories import ask


def test_the_question_is_shown_with_its_figures_as_fields(figures, site):
    answer = site.get(url(figures))
    html = answer.content.decode()
    assert answer.status_code == 200
    assert re.search(r"<h1><bdi>KPI figures for 2026-10</bdi></h1>", html)
    assert re.search(r'<input type="number" name="edit:/rows/0/amount" value="12" [^>]*min="0"', html)
    assert 'name="edit:/rows/1/final" value="on"' in html
    assert html.count(" checked>") == 1
    assert 'name="edit:/month"' not in html
    assert re.findall(r'<button name="choice" value="(\w+)" class="(\w*)"', html) == [
        ("continue", "primary"),
        ("retry", ""),
        ("abort", "danger"),
    ]
    assert as_it_is(figures) == UNTOUCHED


def test_a_form_sent_untouched_edits_nothing(figures, site):
    answer = site.post(url(figures), form_of(figures, choice="continue"))
    assert (answer.status_code, answer.headers["Location"]) == (302, url(figures))
    assert as_it_is(figures) == ("decided", "continue", PAYLOAD, 1)
    kept = figures.decisions.get()
    assert (kept.edits, kept.door, kept.late) == ({}, "page", False)


def test_what_was_changed_in_the_form_is_the_answer(figures, site):
    changes = {
        **{"edit:/rows/0/amount": "15", "edit:/rows/0/final": ["", "on"], "edit:/rows/1/final": [""]},
        **{"edit:/rows/1/kpi": " cost\r\nof sales", "choice": "continue", "note": "one\r\ntwo"},
    }
    site.post(url(figures), form_of(figures, **changes))
    figures.refresh_from_db()
    assert figures.answer["rows"] == [
        {"kpi": "revenue", "amount": 15, "final": True},
        {"kpi": " cost\nof sales", "amount": 7, "final": False},
    ]
    assert (figures.note, type(figures.answer["rows"][0]["amount"])) == ("one\ntwo", int)
    outcome = words(site.get(url(figures)))
    assert "Amount of revenue 12 15" in outcome
    assert "Approve and continue, by" in outcome


def folds(answer):
    """(open, words) of each row's fold."""
    found = re.findall(r'<details class="fold"( open)?><summary>(.*?)</summary>', answer.content.decode(), re.DOTALL)
    return [(bool(is_open), " ".join(re.sub(r"<[^>]+>", " ", told).split())) for is_open, told in found]


def test_rows_are_folded_to_their_figures_and_open_where_something_is_wrong_or_changed(policy, site):
    rows = [{"kpi": f"k{n}", "amount": n, "final": False} for n in range(4)]
    row = ask(policy, payload={"month": "2026-10", "rows": rows}, payload_schema=SCHEMA)
    told = [(False, f"{n + 1} k{n} Amount {n}") for n in range(4)]
    assert folds(site.get(url(row))) == told
    changes = {"edit:/rows/1/amount": "-5", "edit:/rows/2/kpi": "other"}
    refused = site.post(url(row), form_of(row, choice="continue", **changes))
    assert refused.status_code == 400
    assert folds(refused) == [told[0], (True, "2 k1 Amount -5"), (True, "3 other Amount 2"), told[3]]
    assert site.post(url(row), form_of(row, choice="continue", **{"edit:/rows/3/amount": "9"})).status_code == 302
    row.refresh_from_db()
    assert row.answer["rows"][3]["amount"] == 9


def test_a_form_without_the_fields_leaves_all_as_it_is(figures, site):
    site.post(url(figures), {"choice": "continue", "digest": figures.digest})
    assert as_it_is(figures) == ("decided", "continue", PAYLOAD, 1)


def test_the_short_link_shows_and_decides_after_signing_in(figures, ada):
    link = f"/a/{figures.public_id}"
    stranger = Client()
    answer = stranger.get(link)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/accounts/login/?next={link}")
    site = browser(ada)
    assert site.get(link).status_code == 200
    assert as_it_is(figures) == UNTOUCHED
    answer = site.post(link, {"choice": "abort", "digest": figures.digest, "note": "no"})
    assert (answer.status_code, answer.headers["Location"]) == (302, link)
    assert as_it_is(figures)[:2] == ("decided", "abort")


def test_looking_never_decides(figures, site):
    site.get(url(figures), {"choice": "continue", "digest": figures.digest})
    site.head(url(figures))
    assert site.put(url(figures)).status_code == 405
    assert as_it_is(figures) == UNTOUCHED


def test_a_form_without_the_csrf_token_is_refused(figures, ada):
    site = Client(enforce_csrf_checks=True)
    site.force_login(ada.user, backend="django.contrib.auth.backends.ModelBackend")
    assert site.post(url(figures), form_of(figures, choice="continue")).status_code == 403
    assert as_it_is(figures) == UNTOUCHED


def test_enter_in_a_field_decides_nothing(figures, site):
    html = site.get(url(figures)).content.decode()
    form = html[html.index('id="decision"') :]
    assert re.search(r"<button[^>]*>", form)[0] == "<button disabled hidden>"
