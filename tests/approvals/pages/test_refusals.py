"""What the page of a question refuses, in words, with nothing typed lost."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from approvals.models import Request
from tests.approvals.looks import PAYLOAD, SCHEMA, UNTOUCHED, as_it_is, browser, colleague, form_of, url, words
from tests.factories import MemberFactory, ask


@pytest.mark.parametrize("choice", ["retry", "abort"])
def test_retry_and_abort_need_a_note(figures, site, choice):
    answer = site.post(url(figures), form_of(figures, choice=choice, note="  "))
    assert answer.status_code == 400
    assert f"A note is needed with {choice}: why?" in words(answer)
    assert b'aria-invalid="true"' in answer.content
    assert as_it_is(figures) == UNTOUCHED
    assert site.post(url(figures), form_of(figures, choice=choice, note="wrong month")).status_code == 302
    assert as_it_is(figures)[:2] == ("decided", choice)


def test_what_is_wrong_is_said_at_its_field_and_all_that_was_typed_stays(figures, site):
    changes = {"edit:/rows/0/amount": "-3", "edit:/rows/1/kpi": "expenses", "choice": "continue", "note": "my note"}
    answer = site.post(url(figures), form_of(figures, **changes))
    html = answer.content.decode()
    assert answer.status_code == 400
    assert re.search(r'name="edit:/rows/0/amount" value="-3"[^>]*aria-invalid="true"', html)
    assert '12</bdi> → <bdi>-3</bdi></span><span class="error">At least 0.' in html
    assert 'value="expenses"' in html
    assert ">\nmy note</textarea>" in html or ">my note</textarea>" in html
    assert as_it_is(figures) == UNTOUCHED


def test_what_is_no_number_is_said_after_all_other_refusals(figures, site, ada):
    bad = form_of(figures, choice="continue", **{"edit:/rows/0/amount": "many"})
    answer = site.post(url(figures), bad)
    assert (answer.status_code, "Write a number" in words(answer)) == (400, True)
    assert site.post(url(figures), bad | {"digest": "\0"}).status_code in {400, 409}
    stale = site.post(url(figures), bad | {"digest": "0" * 64})
    assert stale.status_code == 409
    assert browser(MemberFactory(organization=ada.organization)).post(url(figures), bad).status_code == 403
    assert as_it_is(figures) == UNTOUCHED
    figures.decide(by=colleague(ada), choice="abort", digest=figures.digest, note="x")
    assert site.post(url(figures), bad).status_code == 409


def test_edits_have_no_effect_with_retry_and_can_be_left_out(figures, site):
    sent = form_of(figures, choice="retry", note="again", **{"edit:/rows/0/amount": "15"})
    answer = site.post(url(figures), sent)
    assert answer.status_code == 400
    assert "Edits have no effect with retry" in words(answer)
    assert b'value="15"' in answer.content
    assert as_it_is(figures) == UNTOUCHED
    site.post(url(figures), sent | {"without_edits": "1"})
    assert as_it_is(figures)[:2] == ("decided", "retry")


def test_a_place_that_may_not_be_edited_is_refused_whatever_the_form_says(figures, site):
    answer = site.post(url(figures), form_of(figures, choice="continue", **{"edit:/month": "2026-11"}))
    assert answer.status_code == 400
    assert "/month: This may not be edited." in words(answer)
    answer = site.post(url(figures), form_of(figures, choice="continue", **{"edit:/rows/9/amount": "1"}))
    assert "The payload has no such place" in words(answer)
    assert as_it_is(figures) == UNTOUCHED


def test_a_viewer_sees_it_all_and_no_button(figures, ada):
    viewer = browser(MemberFactory(organization=ada.organization))
    answer = viewer.get(url(figures))
    assert answer.status_code == 200
    assert b'name="choice"' not in answer.content
    assert b"edit:/rows" not in answer.content
    said = words(answer)
    assert "revenue" in said
    assert "lets only approver decide. Who may: " + ada.name in said
    refused = viewer.post(url(figures), form_of(figures, choice="continue", note="but I want to"))
    assert refused.status_code == 403
    assert "You may not decide this." in words(refused)
    assert "but I want to" in words(refused)
    assert as_it_is(figures) == UNTOUCHED


def test_the_requester_is_told_why_not(policy, ada):
    policy.not_the_requester = True
    policy.save()
    row = ask(policy, requested_by=ada)
    answer = browser(ada).get(url(row))
    assert "does not let the one who started it decide" in words(answer)
    assert "No active member may" in words(answer)


def test_another_organization_finds_nothing(figures):
    site = browser(MemberFactory(roles=["admin"]))
    for path in (url(figures), f"/a/{figures.public_id}", f"{url(figures)}part/", f"{url(figures)}payload.json"):
        assert site.get(path).status_code == 404
    for path in (url(figures), f"{url(figures)}check/"):
        assert site.post(path, form_of(figures, choice="continue")).status_code == 404
    assert b"KPI figures" not in site.get("/approvals/?tab=all").content
    assert as_it_is(figures) == UNTOUCHED


def test_whoever_comes_too_late_is_told_by_whom_it_was_decided(figures, site, ada):
    bob = colleague(ada)
    figures.decide(by=bob, choice="abort", digest=figures.digest, note="not this month")
    answer = site.post(url(figures), form_of(figures, choice="continue", note="fine", **{"edit:/rows/0/amount": "15"}))
    said = words(answer)
    assert answer.status_code == 409
    assert "Your answer came too late." in said
    assert f"Abort, by {bob.name}" in said
    assert "not this month" in said
    assert "What you had typed fine Amount of revenue 15" in said
    assert "too late, kept as evidence" in said
    assert [(kept.member, kept.late) for kept in figures.decisions.all()] == [(bob, False), (ada, True)]


def test_the_same_form_twice_shows_the_outcome_and_is_one_answer(figures, site):
    sent = form_of(figures, choice="continue", **{"edit:/rows/0/amount": "15"})
    assert site.post(url(figures), sent).status_code == 302
    again = site.post(url(figures), sent)
    assert (again.status_code, again.headers["Location"]) == (302, url(figures))
    assert figures.decisions.count() == 1


def test_past_its_deadline_it_is_shown_as_expired(policy, site):
    row = ask(policy, deadline_at=timezone.now() - timedelta(minutes=1), deadline_choice="abort")
    assert "so it counts as Abort" in words(site.get(url(row)))
    answer = site.post(url(row), {"choice": "continue", "digest": row.digest})
    assert (answer.status_code, "came too late" in words(answer)) == (409, True)
    Request.withdraw([row.pk])
    assert "The question was withdrawn" in words(site.get(url(row)))


def test_a_stale_page_shows_what_changed_and_keeps_what_was_typed(policy, site, ada):
    old = ask(policy, payload=PAYLOAD, payload_schema=SCHEMA, editable=["/rows"])
    old.decide(by=colleague(ada), choice="retry", digest=old.digest, note="n")
    rows = [{"kpi": "revenue", "amount": 13, "final": False}]
    new = ask(policy, payload={**PAYLOAD, "rows": rows}, payload_schema=SCHEMA, editable=["/rows"])
    changes = {"edit:/rows/0/kpi": "turnover", "edit:/rows/1/amount": "8", "choice": "continue", "note": "mine"}
    answer = site.post(url(new), form_of(old, **changes))
    html, said = answer.content.decode(), words(answer)
    assert answer.status_code == 409
    assert "Amount of revenue 12 13" in said
    assert 'name="edit:/rows/0/amount" value="13"' in html  # untouched then: what it is now
    assert 'name="edit:/rows/0/kpi" value="turnover"' in html
    assert "/rows/1/amount: 8" in said  # its place is gone
    assert f'name="digest" value="{new.digest}"' in html
    assert "mine</textarea>" in html
    assert as_it_is(new) == UNTOUCHED


def test_the_page_tells_what_changed_since_the_round_before(policy, site, ada):
    old = ask(policy, payload=PAYLOAD)
    old.decide(by=ada, choice="retry", digest=old.digest, note="look at the revenue")
    new = ask(policy, payload={**PAYLOAD, "month": "2026-11"})
    said = words(site.get(url(new)))
    assert "look at the revenue" in said
    assert "Month 2026-10 2026-11" in said
    assert "It was asked anew" in words(site.get(url(old)))
