"""Filters of a list, kept under a name: one's own, and those shared with the organization."""

import pytest

from accounts.models import SavedView
from tests.factories import MemberFactory

FAILED = "status=failed&time=7d"


@pytest.fixture
def ada(client, members):
    client.force_login(members.operator.user)
    return client


def save(client, name="Failed this week", query=FAILED, page="runs", **more):
    return client.post(f"/settings/views/{page}/", {"name": name, "query": query, **more})


def test_filters_are_saved_shown_and_deleted(ada, members):
    assert "Save this view" not in ada.get("/runs/").content.decode()
    assert "Save this view" in ada.get(f"/runs/?{FAILED}").content.decode()
    assert save(ada).headers["Location"] == f"/runs/?{FAILED}"
    view = SavedView.objects.get()
    assert (view.member, view.list, view.is_shared) == (members.operator, "runs", False)
    link = '<a href="/runs/?status=failed&amp;time=7d"'
    assert f"{link}>Failed this week</a>" in ada.get("/runs/").content.decode()
    page = ada.get(f"/runs/?{FAILED}").content.decode()
    assert f'{link} aria-current="page">' in page
    assert "Save this view" not in page
    assert ada.post(f"/settings/views/{view.pk}/delete/").headers["Location"] == "/runs/"
    assert not SavedView.objects.exists()


def test_the_same_name_takes_the_others_place_and_lists_have_names_of_their_own(ada):
    save(ada)
    save(ada, query="mine=1")
    save(ada, page="approvals", query="q=kpi&tab=all")
    assert list(SavedView.objects.values_list("list", "query")) == [("runs", "mine=1"), ("approvals", "q=kpi&tab=all")]
    page = ada.get("/approvals/?q=kpi&tab=all").content.decode()
    assert 'href="/approvals/?q=kpi&amp;tab=all" aria-current="page">Failed this week' in page


def test_builders_share_with_their_organization_and_nobody_else(client, ada, members):
    save(ada, "Not shared", shared="on")
    client.force_login(members.builder.user)
    save(client, "Shared", shared="on")
    client.force_login(members.viewer.user)
    page = client.get("/runs/").content.decode()
    assert ">Shared</a>" in page
    assert ">Not shared</a>" not in page
    view = SavedView.objects.get(name="Shared")
    assert client.post(f"/settings/views/{view.pk}/delete/").status_code == 404
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert ">Shared</a>" not in client.get("/runs/").content.decode()
    assert client.post(f"/settings/views/{view.pk}/delete/").status_code == 404
    client.force_login(members.admin.user)
    assert client.post(f"/settings/views/{view.pk}/delete/").status_code == 302


@pytest.mark.parametrize("given", [{"name": ""}, {"name": "x" * 81}, {"query": ""}, {"query": "q=" + "x" * 4000}])
def test_what_cannot_be_kept_is_refused_in_words(ada, given):
    assert save(ada, **given).status_code == 302
    assert "Not saved" in ada.get("/runs/").content.decode()
    assert not SavedView.objects.exists()


def test_nobody_has_more_than_fifty(ada, members):
    SavedView.objects.bulk_create(
        SavedView(member=members.operator, list="runs", name=f"{n}", query="mine=1") for n in range(SavedView.MOST)
    )
    save(ada)
    assert "which is the most" in ada.get("/runs/").content.decode()
    save(ada, "7", "q=other")
    assert SavedView.objects.get(name="7").query == "q=other"
    assert SavedView.objects.count() == SavedView.MOST
    assert ada.post("/settings/views/odd/", {}).status_code == 404
