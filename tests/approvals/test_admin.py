"""The admin: staff decide there by the same rules; state rows can only be looked at."""

import re

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from unfold.admin import ModelAdmin

from accounts.admin import Admin
from approvals.models import Policy, Request
from config.skin import PLACES
from tests.approvals.looks import PAYLOAD, SCHEMA, as_it_is, browser, colleague, form_of, words
from tests.factories import MemberFactory, PolicyFactory, ask

UNTOUCHED = ("pending", None, None, 0)
CHANGELIST = "/admin/approvals/request/"
MANY = "/admin/approvals/request/decide/"


def staff(member, **rights):
    member.user.is_staff = True
    for name, value in rights.items():
        setattr(member.user, name, value)
    member.user.save()
    return browser(member)


@pytest.fixture
def figures(policy):
    return ask(policy, payload=PAYLOAD, payload_schema=SCHEMA, editable=["/rows"], title="KPI figures for 2026-10")


@pytest.fixture
def desk(ada):
    return staff(ada)


@pytest.fixture
def root(policy):
    """A superuser of another organization."""
    return staff(MemberFactory(roles=["admin"]), is_superuser=True)


def decide(row):
    return f"{CHANGELIST}{row.pk}/decide/"


def test_staff_decide_on_a_page_of_their_own_and_only_by_post(figures, desk):
    html = desk.get(f"{CHANGELIST}{figures.pk}/change/").content.decode()
    assert decide(figures) in html
    assert "(&#x27;pending&#x27;" not in html
    answer = desk.get(decide(figures), {"choice": "continue", "digest": figures.digest})
    assert answer.status_code == 200
    assert 'name="edit:/rows/0/amount" value="12"' in answer.content.decode()
    assert as_it_is(figures) == UNTOUCHED
    answer = desk.post(decide(figures), form_of(figures, choice="continue", **{"edit:/rows/0/amount": "15"}))
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{CHANGELIST}{figures.pk}/change/")
    figures.refresh_from_db()
    assert (figures.answer["rows"][0]["amount"], figures.decisions.get().door) == (15, "admin")
    assert "Amount of revenue 12 15" in words(desk.get(f"{CHANGELIST}{figures.pk}/change/"))
    again = desk.post(decide(figures), form_of(figures, choice="continue", **{"edit:/rows/0/amount": "15"}))
    assert (again.status_code, figures.decisions.count()) == (302, 1)


def test_the_admin_refuses_what_every_door_refuses(figures, desk, ada):
    answer = desk.post(decide(figures), form_of(figures, choice="retry"))
    assert (answer.status_code, "A note is needed with retry" in words(answer)) == (400, True)
    answer = desk.post(decide(figures), form_of(figures, choice="continue", **{"edit:/rows/0/amount": "-1"}))
    assert (answer.status_code, 'value="-1"' in answer.content.decode()) == (400, True)
    stale = desk.post(decide(figures), form_of(figures, choice="continue", digest="0" * 64))
    assert (stale.status_code, "not what you have seen" in words(stale)) == (409, True)
    viewer = staff(MemberFactory(organization=ada.organization))
    assert b'name="choice"' not in viewer.get(decide(figures)).content
    refused = viewer.post(decide(figures), form_of(figures, choice="continue"))
    assert (refused.status_code, "lets only approver decide" in words(refused)) == (403, True)
    assert as_it_is(figures) == UNTOUCHED
    bob = colleague(ada)
    figures.decide(by=bob, choice="abort", digest=figures.digest, note="no")
    late = desk.post(decide(figures), form_of(figures, choice="continue"))
    assert (late.status_code, f"{bob.name} has decided: Abort" in words(late)) == (409, True)


def test_a_superuser_of_another_organization_looks_and_cannot_decide(figures, root, desk):
    assert "belongs to another organization" in words(root.get(decide(figures)))
    assert root.post(decide(figures), form_of(figures, choice="continue")).status_code == 403
    elsewhere = ask(PolicyFactory(), subject="elsewhere")
    assert desk.get(decide(elsewhere)).status_code == 404
    assert desk.post(decide(elsewhere), {"choice": "continue", "digest": elsewhere.digest}).status_code == 404
    assert as_it_is(figures) == as_it_is(elsewhere) == UNTOUCHED


def test_strangers_and_people_without_the_staff_mark_stay_outside(figures, policy):
    for page in (Client(), browser(MemberFactory(organization=policy.organization, roles=["approver"]))):
        assert page.get(decide(figures)).status_code == 302
        assert page.post(decide(figures), form_of(figures, choice="continue")).status_code == 302
        assert page.post(MANY, {"request": f"{figures.pk}:{figures.digest}", "choice": "continue"}).status_code == 302
    assert as_it_is(figures) == UNTOUCHED


def test_without_a_membership_a_superuser_is_told_so(figures):
    lone = MemberFactory(is_active=False)
    page = staff(lone, is_superuser=True)
    assert page.get(CHANGELIST).status_code == 200
    assert page.post(decide(figures), form_of(figures, choice="continue")).status_code == 403


# --- many


def preview(page, *rows):
    return page.post(CHANGELIST, {"action": "decide_selected", "_selected_action": [row.pk for row in rows]})


def test_many_at_once_are_previewed_and_each_gets_its_own_answer(policy, desk, ada):
    rows = [ask(policy, subject=f"s{n}", title=f"question {n}") for n in range(4)]
    not_mine = ask(PolicyFactory(organization=policy.organization, roles=["builder"]), subject="b", title="not mine")
    shown = preview(desk, *rows, not_mine)
    html = shown.content.decode()
    seen = re.findall(r'name="request" value="(\d+:\w{64})" checked', html)
    assert sorted(seen) == sorted(f"{row.pk}:{row.digest}" for row in rows)
    assert "lets only builder decide" in words(shown)
    assert all(as_it_is(row) == UNTOUCHED for row in (*rows, not_mine))
    rows[1].decide(by=colleague(ada), choice="abort", digest=rows[1].digest, note="no")
    sent = [f"{rows[0].pk}:{rows[0].digest}", f"{rows[1].pk}:{rows[1].digest}", f"{rows[2].pk}:{'0' * 64}"]
    sent += [f"{not_mine.pk}:{not_mine.digest}", "999999:x", "nonsense", "", f"{'9' * 30}:x"]
    done = desk.post(MANY, {"request": sent, "choice": "continue", "note": "all fine"})
    said = words(done)
    assert done.status_code == 200
    assert "1 of 4 decided." in said
    assert "question 0 Decided: Approve and continue" in said
    assert "question 1 Refused: The request is decided." in said
    assert "question 2 Refused: What would happen is not what you have seen." in said
    assert "not mine Refused: The policy" in said
    assert [as_it_is(row)[:2] for row in rows] == [
        ("decided", "continue"),
        ("decided", "abort"),
        ("pending", None),
        ("pending", None),
    ]
    assert as_it_is(not_mine) == UNTOUCHED
    assert rows[0].decisions.get().door == "admin"
    assert "1 of 1 decided." in words(desk.post(MANY, {"request": sent[:1], "choice": "continue", "note": "all fine"}))


def test_many_at_once_need_a_note_too_and_never_a_get(policy, desk):
    rows = [ask(policy, subject=f"s{n}") for n in range(2)]
    sent = [f"{row.pk}:{row.digest}" for row in rows]
    assert desk.get(MANY, {"request": sent, "choice": "continue"}).status_code == 405
    said = words(desk.post(MANY, {"request": sent, "choice": "abort"}))
    assert said.count("A note is needed with abort: why?") == 2
    assert all(as_it_is(row) == UNTOUCHED for row in rows)


def test_many_at_once_stay_within_the_organization(policy, desk):
    elsewhere = ask(PolicyFactory(), subject="elsewhere", title="not for you")
    assert "not for you" not in words(preview(desk, elsewhere))
    sent = [f"{elsewhere.pk}:{elsewhere.digest}"]
    assert "not for you" not in words(desk.post(MANY, {"request": sent, "choice": "continue"}))
    assert as_it_is(elsewhere) == UNTOUCHED


def test_too_many_at_once_are_refused(policy, desk):
    rows = [ask(policy, subject=f"s{n}") for n in range(101)]
    chosen = {"action": "decide_selected", "_selected_action": [row.pk for row in rows]}
    answer = desk.post(CHANGELIST, chosen, follow=True)
    assert "at most 100 at once" in words(answer)


# --- looking


STATE = {"Request", "Run", "Deliverable", "Definition", "Agent", "AgentVersion", "Worker", "ApiToken", "AuditEntry"}


def test_every_table_wears_the_skin_and_state_cannot_be_changed(rf, policy):
    request = rf.get("/admin/")
    request.user = MemberFactory().user
    request.user.is_staff = request.user.is_superuser = True
    for model, place in admin.site._registry.items():
        assert isinstance(place, ModelAdmin), model
        if model.__name__ in STATE:
            rights = place.has_add_permission(request), place.has_change_permission(request)
            assert (*rights, place.has_delete_permission(request)) == (False, False, False), model
    assert {model.__name__ for model in admin.site._registry} >= STATE


def test_the_first_page_lists_every_table_once_by_the_names_of_the_sidebar(root):
    html = root.get("/admin/").content.decode()
    assert re.findall(r'class="section"[^>]*>\s*([^<]+?)\s*<', html) == list(PLACES)
    places = {name for group in PLACES.values() for _, name, _ in group}
    assert places == {model._meta.label_lower for model in admin.site._registry}
    assert all(html.count(f'href="/admin/{name.replace(".", "/")}/"') >= 2 for name in places)


def test_every_list_and_form_opens(figures, root, ada, begin):
    figures.decide(by=ada, choice="continue", digest=figures.digest)
    begin("  a: {agent: echo, with: {value: 1}}\n")
    for model in admin.site._registry:
        info = f"{model._meta.app_label}_{model._meta.model_name}"
        assert root.get(reverse(f"admin:{info}_changelist")).status_code == 200, model
        assert root.get(reverse(f"admin:{info}_changelist"), {"q": "x"}).status_code in (200, 302), model
        row = model._default_manager.first()
        if row is not None:
            assert root.get(reverse(f"admin:{info}_change", args=[row.pk])).status_code == 200, model
    assert root.get("/admin/").status_code == 200
    for name in ("accounts_user", "accounts_member", "accounts_organization", "approvals_policy", "auth_group"):
        assert root.get(reverse(f"admin:{name}_add")).status_code == 200


def test_a_run_is_readable_in_the_admin(root, begin):
    run = begin("  a: {agent: echo, with: {value: 1}}\n")
    html = root.get(f"/admin/orchestration/run/{run.pk}/change/").content.decode()
    assert "&quot;definition&quot;: &quot;" in html
    assert "{&#x27;" not in html
    assert f"/runs/{run.public_id}/" in html


def test_lists_ask_no_more_for_more_rows(policy, desk, ada, django_assert_max_num_queries):
    for number in range(60):
        row = ask(policy, subject=f"s{number}", requested_by=ada, payload={"rows": ["x" * 1000]})
        if number % 2:
            row.decide(by=ada, choice="continue", digest=row.digest)
    with django_assert_max_num_queries(12) as asked:
        answer = desk.get(CHANGELIST)
    assert answer.status_code == 200
    rows = next(query["sql"] for query in asked.captured_queries if f"LIMIT {Admin.list_per_page}" in query["sql"])
    assert '"approvals_request"."payload"' not in rows
    with django_assert_max_num_queries(14):
        assert desk.get(f"{CHANGELIST}{row.pk}/change/").status_code == 200
    with django_assert_max_num_queries(12):
        assert preview(desk, *Request.objects.all()).status_code == 200


def test_hostile_words_stay_words_in_the_admin(policy, desk, ada):
    evil = "<script>alert(1)</script>"
    row = ask(policy, title=evil, payload={"rows": [{evil: evil}], evil: evil}, editable=["/rows"], payload_schema=None)
    edits = {f"/rows/0/{evil.replace('/', '~1')}": f"{evil}2"}
    row.decide(by=ada, choice="continue", digest=row.digest, note=evil, edits=edits)
    for page in (CHANGELIST, f"{CHANGELIST}{row.pk}/change/", decide(row)):
        assert "<script>alert" not in desk.get(page).content.decode()
    assert "<script>alert" not in preview(desk, row).content.decode()


def test_a_policy_that_is_changed_leaves_a_trail(policy, ada):
    page = staff(ada, is_superuser=True)
    form = {"organization": policy.organization_id, "slug": policy.slug, "roles": "admin", "not_the_requester": "on"}
    answer = page.post(f"/admin/approvals/policy/{policy.pk}/change/", form)
    assert answer.status_code == 302
    assert Policy.objects.get(pk=policy.pk).roles == ["admin"]
