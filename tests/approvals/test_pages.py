"""The inbox, and the page of a question: what it shows, what it refuses, in words, with nothing typed lost."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from approvals.models import Request
from tests.factories import MemberFactory, OrganizationFactory, PolicyFactory, ask

SCHEMA = {
    "type": "object",
    "properties": {
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "kpi": {"type": "string"},
                    "amount": {"type": "integer", "minimum": 0},
                    "final": {"type": "boolean"},
                },
            },
        }
    },
}
PAYLOAD = {
    "month": "2026-10",
    "rows": [{"kpi": "revenue", "amount": 12, "final": False}, {"kpi": "costs", "amount": 7, "final": True}],
}


def browser(member):
    client = Client()
    client.force_login(member.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url(row):
    return f"/approvals/{row.public_id}/"


def words(answer):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))
    return re.sub(r" ([,.:])", r"\1", text)


def form_of(row, **changes):
    """What the page sends when nobody has touched a field."""
    sent = {"digest": row.digest, "note": ""}
    for index, item in enumerate(row.payload["rows"]):
        for name in ("kpi", "amount"):
            sent[f"edit:/rows/{index}/{name}"] = str(item[name])
        sent[f"edit:/rows/{index}/final"] = ["", "on"] if item["final"] else [""]
    return sent | changes


def as_it_is(row):
    fresh = Request.objects.get(pk=row.pk)
    return fresh.status, fresh.choice, fresh.answer, fresh.decisions.count()


def colleague(member):
    return MemberFactory(organization=member.organization, roles=["approver"])


UNTOUCHED = ("pending", None, None, 0)


@pytest.fixture
def figures(policy):
    return ask(policy, payload=PAYLOAD, payload_schema=SCHEMA, editable=["/rows"], title="KPI figures for 2026-10")


@pytest.fixture
def site(ada):
    return browser(ada)


# --- deciding


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
    assert "/rows/0/amount changed 12 15" in outcome
    assert "continue, by" in outcome


def folds(answer):
    """(open, words) of each row's fold."""
    found = re.findall(r'<details class="fold"( open)?><summary>(.*?)</summary>', answer.content.decode(), re.DOTALL)
    return [(bool(is_open), " ".join(re.sub(r"<[^>]+>", " ", told).split())) for is_open, told in found]


def test_rows_are_folded_to_their_figures_and_open_where_something_is_wrong_or_changed(policy, site):
    rows = [{"kpi": f"k{n}", "amount": n, "final": False} for n in range(4)]
    row = ask(policy, payload={"month": "2026-10", "rows": rows}, payload_schema=SCHEMA)
    told = [(False, f"{n + 1} k{n} amount {n}") for n in range(4)]
    assert folds(site.get(url(row))) == told
    changes = {"edit:/rows/1/amount": "-5", "edit:/rows/2/kpi": "other"}
    refused = site.post(url(row), form_of(row, choice="continue", **changes))
    assert refused.status_code == 400
    assert folds(refused) == [told[0], (True, "2 k1 amount -5"), (True, "3 other amount 2"), told[3]]
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


# --- refusals


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
    assert f"abort, by {bob.name}" in said
    assert "not this month" in said
    assert "What you had typed fine /rows/0/amount 15" in said
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
    assert "so it counts as abort" in words(site.get(url(row)))
    answer = site.post(url(row), {"choice": "continue", "digest": row.digest})
    assert (answer.status_code, "came too late" in words(answer)) == (409, True)
    Request.withdraw([row.subject])
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
    assert "/rows/0/amount changed 12 13" in said
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
    assert "/month changed 2026-10 2026-11" in said
    assert "It was asked anew" in words(site.get(url(old)))


# --- what hostile and large content does


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


# --- parts and checks


def test_the_check_says_what_is_wrong_so_far_and_keeps_nothing(figures, site):
    sent = form_of(figures, **{"edit:/rows/0/amount": "-3"})
    errors = site.post(f"{url(figures)}check/", sent).json()["errors"]
    assert [error["pointer"] for error in errors] == ["/rows/0/amount"]
    assert site.post(f"{url(figures)}check/", form_of(figures)).json() == {"errors": []}
    assert site.get(f"{url(figures)}check/").status_code == 405
    assert as_it_is(figures) == UNTOUCHED


def test_an_open_page_hears_that_someone_else_has_decided(figures, site, ada):
    part = f"{url(figures)}part/?open=1"
    assert "has decided" not in words(site.get(part))
    bob = colleague(ada)
    figures.decide(by=bob, choice="continue", digest=figures.digest)
    assert f"{bob.name} has decided meanwhile: continue" in words(site.get(part))
    assert 'hx-target="#what-next"' in site.get(f"{url(figures)}part/").content.decode()


# --- the inbox


@pytest.fixture
def several(policy, ada):
    """Open ones in the order they are due; and one each of another policy, of the reader's own, decided, elsewhere."""
    at = timezone.now()
    others = PolicyFactory(organization=policy.organization, roles=["builder"])
    careful = PolicyFactory(organization=policy.organization, not_the_requester=True)
    names = ["no deadline", "late", "soon", "own", "decided", "other", "elsewhere"]
    due = {"late": at + timedelta(days=2), "soon": at + timedelta(hours=1)}
    rows = {}
    for name in names:
        of = others if name == "other" else careful if name == "own" else policy
        of = PolicyFactory(organization=OrganizationFactory()) if name == "elsewhere" else of
        deadline = {"deadline_at": due[name], "deadline_choice": "abort"} if name in due else {}
        by = ada if name == "own" else None
        rows[name] = ask(of, subject=name, title=name, requested_by=by, **deadline)
    rows["decided"].decide(by=ada, choice="continue", digest=rows["decided"].digest)
    return rows


def titles(answer):
    return re.findall(r'<a class="row"[^>]*><bdi>([^<]*)</bdi>', answer.content.decode())


def test_the_inbox_has_what_i_may_decide_first_due_first(several, site):
    assert titles(site.get("/approvals/")) == ["soon", "late", "no deadline"]
    assert titles(site.get("/approvals/?tab=all")) == ["soon", "late", "no deadline", "own", "other"]
    assert titles(site.get("/approvals/?tab=done")) == ["decided"]
    assert titles(site.get("/approvals/?tab=all&q=LATE")) == ["late"]
    assert titles(site.get(f"/approvals/?tab=all&policy={several['other'].policy.slug}")) == ["other"]
    assert titles(site.get("/approvals/?tab=done&status=withdrawn")) == []
    assert titles(site.get("/approvals/?run=run_1")) == ["soon", "late", "no deadline"]
    assert titles(site.get("/approvals/?after=nonsense&tab=nonsense&status=x")) == ["soon", "late", "no deadline"]


def test_the_navigation_counts_what_waits_for_me(several, site, ada):
    def count(site):
        return re.search(r'id="count-pagesapprovals"( hidden)?>(\d+)', site.get("/settings/").content.decode()).groups()

    assert count(site) == (None, "3")
    assert count(browser(MemberFactory(organization=ada.organization))) == (" hidden", "0")


def test_the_inbox_hears_of_new_questions_without_moving(policy, site):
    ask(policy, subject="old")
    part = part_of(site, "/approvals/")
    assert " new" not in words(site.get(part))
    ask(policy, subject="new")
    said = words(site.get(part))
    assert "1 new" in said
    assert "2 open" in said
    assert site.get("/approvals/part/?known=nonsense&ids=nonsense&tab=done").status_code == 200


def part_of(site, path):
    return unescape(re.search(r'data-part="([^"]*)"', site.get(path).content.decode())[1])


def test_what_is_done_is_told_and_comes_first_whenever_it_was_asked(policy, site, ada, monkeypatch):
    monkeypatch.setattr("ui.arrivals.MOST_KNOWN", 2)
    rows = [ask(policy, subject=str(number), title=str(number)) for number in range(5)]
    for row in (rows[3], rows[1], rows[2]):
        row.decide(by=ada, choice="continue", digest=row.digest)
    part = part_of(site, "/approvals/?tab=done")
    assert " new" not in words(site.get(part))
    Request.withdraw(["0"])
    assert "1 new" in words(site.get(part))
    assert titles(site.get("/approvals/?tab=done")) == ["0", "2", "1", "3"]
    assert titles(site.get(f"/approvals/?tab=done&after={rows[2].public_id}")) == ["1", "3"]
    assert titles(site.get(f"/approvals/?tab=done&after={rows[4].public_id}")) == ["0", "2", "1", "3"]


def test_a_question_committed_after_later_ones_is_told_too(policy, site):
    Request.objects.filter(pk=ask(policy, subject="later").pk).update(id=10**9)
    part = part_of(site, "/approvals/")
    ask(policy, subject="earlier")
    assert "1 new" in words(site.get(part))


def test_of_many_only_the_new_ones_are_told(policy, site, monkeypatch):
    monkeypatch.setattr("ui.arrivals.MOST_KNOWN", 2)
    for number in range(4):
        ask(policy, subject=str(number))
    part = part_of(site, "/approvals/")
    assert " new" not in words(site.get(part))
    ask(policy, subject="new")
    assert "1 new" in words(site.get(part))


@pytest.mark.parametrize("tab", ["mine", "all"])
def test_an_open_row_that_ended_elsewhere_stays_and_says_how(policy, site, ada, tab):
    past = {"deadline_at": timezone.now() - timedelta(seconds=1), "deadline_choice": "abort"}
    rows = {name: ask(policy, subject=name, title=name) for name in ("open", "decided", "withdrawn", "expired")}
    part = part_of(site, f"/approvals/?tab={tab}")
    bob = colleague(ada)
    rows["decided"].decide(by=bob, choice="continue", digest=rows["decided"].digest)
    Request.withdraw(["withdrawn"])
    Request.objects.filter(pk=rows["expired"].pk).update(**past)
    over = set(re.findall(r'<tr class="row-link is-over" id="(\w+)"', site.get(part).content.decode()))
    assert over == {row.public_id for name, row in rows.items() if name != "open"}
    said = words(site.get(part))
    assert f"Decided continue by {bob.name}, just now" in said
    assert "Withdrawn just now" in said
    assert "Expired" in said


def test_the_inbox_tells_nothing_of_another_organization(policy, site):
    theirs = ask(PolicyFactory(organization=OrganizationFactory()), title="theirs")
    said = words(site.get(f"/approvals/part/?tab=all&known=&ids={theirs.public_id}"))
    assert "theirs" not in said
    assert " new" not in said


def test_the_inbox_goes_on_by_key(policy, site, monkeypatch):
    at = timezone.now() + timedelta(days=1)
    for number in range(120):
        deadline = {"deadline_at": at + timedelta(hours=number % 5), "deadline_choice": "abort"} if number % 3 else {}
        ask(policy, subject=str(number), title=str(number), **deadline)
    seen, address = [], "/approvals/"
    for _ in range(3):
        answer = site.get(address)
        seen += titles(answer)
        older = re.search(r'href="(\?[^"]*after=[^"]*)"', answer.content.decode())
        address = f"/approvals/{older[1].replace('&amp;', '&')}" if older else None
    assert address is None
    assert (len(seen), len(set(seen))) == (120, 120)
    assert sum(int(title) % 3 > 0 for title in seen[:80]) == 80


def test_no_page_asks_more_for_more_rows(several, site, policy, ada, django_assert_max_num_queries):
    for number in range(60):
        ask(policy, subject=f"s{number}", title=f"q{number}", requested_by=ada)
    for path in ("/approvals/", "/approvals/?tab=all", "/approvals/?tab=done"):
        with django_assert_max_num_queries(10):
            assert site.get(path).status_code == 200
    for row in (several["soon"], several["decided"], several["own"]):
        with django_assert_max_num_queries(13):
            assert site.get(url(row)).status_code == 200
