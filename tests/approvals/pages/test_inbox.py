"""The inbox: whose questions it has, in which order, and what it hears."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone

from approvals.models import Request
from tests.approvals.looks import browser, colleague, url, words
from tests.factories import MemberFactory, OrganizationFactory, PolicyFactory, ask


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
    Request.withdraw([rows[0].pk])
    assert "1 new" in words(site.get(part))
    page = site.get("/approvals/?tab=done")
    assert titles(page) == ["0", "2", "1", "3"]
    assert page.content.decode().count('<td data-label="Ended"><time') == 4
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
    Request.withdraw([rows["withdrawn"].pk])
    Request.objects.filter(pk=rows["expired"].pk).update(**past)
    over = set(re.findall(r'<tr class="row-link is-over" id="(\w+)"', site.get(part).content.decode()))
    assert over == {row.public_id for name, row in rows.items() if name != "open"}
    said = words(site.get(part))
    assert f"Decided approved by {bob.name}, just now" in said
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
