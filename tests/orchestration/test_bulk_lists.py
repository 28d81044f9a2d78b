"""The list of what was done to many runs at once: who, when, which lever, which runs, why, how far; page and API."""

import html
import re
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orchestration.engine import bulk
from orchestration.engine.levers import pausing
from orchestration.levers import BY_NAME
from orchestration.models import Bulk
from orchestration.views import bulk_list
from tests.factories import MemberFactory

ONE = "name: acted\nsteps:\n  a: {agent: echo}\n"
PAUSE, CANCEL = BY_NAME["run", "pause"], BY_NAME["run", "cancel"]


def act(lever, chosen, by, reason):
    digest = bulk.look(lever, chosen, {}, by=by).digest
    return bulk.begin(lever, chosen, {}, reason=reason, digest=digest, by=by)


@pytest.fixture
def acts(begin, members):
    """Of two runs one of which is paused: paused by the operator through a filter, and canceled by the admin by ids."""
    runs = [begin(ONE) for _ in range(2)]
    pausing.pause(runs[1], by=None, reason="before")
    first = act(PAUSE, bulk.Chosen("status=open&definition=acted"), members.operator, "month end")
    bulk.work()
    second = act(CANCEL, bulk.Chosen(ids=[runs[0].public_id]), members.admin, "not needed")
    return SimpleNamespace(runs=runs, first=first.public_id, second=second.public_id)


def listed(client, query=""):
    """By id, each row's text."""
    page = client.get(f"/runs/actions/{query}")
    assert page.status_code == 200
    rows = re.findall(r'<tr class="row-link" id="action-(\w+)">(.*?)</tr>', page.content.decode(), re.DOTALL)
    return {name: html.unescape(re.sub(r"<[^>]+>", " ", row)) for name, row in rows}


def test_each_action_is_told_with_who_which_runs_why_and_how_far(client, members, acts):
    client.force_login(members.viewer.user)
    found = listed(client)
    assert list(found) == [acts.second, acts.first]
    for words in ("Pause", "Ended", "2 of 2", "1 done, 1 not", members.operator.name, "month end"):
        assert words in found[acts.first], words
    assert "Not ended, definition acted" in found[acts.first]
    for words in ("Cancel", "Under way", "0 of 1", "0 done, 0 not", "Chosen one by one", members.admin.name):
        assert words in found[acts.second], words
    page = client.get("/runs/actions/").content.decode()
    assert f'href="/runs/actions/{acts.first}/"' in page
    assert 'href="/runs/?status=open&amp;definition=acted"' in page


def test_it_is_narrowed_and_nonsense_is_named(client, members, acts):
    client.force_login(members.viewer.user)
    for query, wanted in (
        ("?state=open", [acts.second]),
        ("?state=ended", [acts.first]),
        ("?lever=pause", [acts.first]),
        (f"?by={members.admin.name}", [acts.second]),
        ("?state=ended&lever=cancel", []),
        ("?by=nobody", []),
        ("?state=odd&lever=delete", [acts.second, acts.first]),
    ):
        assert list(listed(client, query)) == wanted, query
    odd = client.get("/runs/actions/?state=odd&lever=delete").content.decode()
    assert ("the state “odd”" in odd, "is called “delete”" in odd) == (True, True)
    assert "No action is like this" in client.get("/runs/actions/?by=nobody").content.decode()


def test_it_goes_on_by_key_and_says_what_came(client, members, acts, monkeypatch):
    monkeypatch.setattr(bulk_list, "PAGE_SIZE", 1)
    client.force_login(members.viewer.user)
    page = client.get("/runs/actions/").content.decode()
    older = html.unescape(re.search(r'href="([^"]+)" rel="next"', page)[1])
    assert parse_qs(urlsplit(older).query) == {"before": [acts.second]}
    part = html.unescape(re.search(r'data-part="([^"]*)"', page)[1])
    assert "1 new" not in client.get(part).content.decode()
    third = act(CANCEL, bulk.Chosen(ids=[acts.runs[1].public_id]), members.operator, "again").public_id
    assert list(listed(client, f"?{urlsplit(older).query}")) == [acts.first]
    bulk.work()
    news = client.get(part).content.decode()
    assert ("1 new" in news, f"action-{acts.second}" in news, third in news) == (True, True, False)
    assert "1 of 1" in news


def test_others_see_nothing_of_it_and_are_told_what_it_is(client, client_of, members, acts):
    stranger = MemberFactory(roles=["operator"])
    client.force_login(stranger.user)
    page = client.get("/runs/actions/").content.decode()
    assert ("Nothing was done to many runs yet" in page, members.operator.name in page) == (True, False)
    assert acts.first not in client.get(f"/runs/actions/list/part/?ids={acts.first}").content.decode()
    assert client.get(f"/runs/actions/?before={acts.first}").status_code == 200
    assert client_of(stranger).get(reverse("runs-actions")).json()["results"] == []


def test_the_api_lists_them_too(viewer, operator, members, acts):
    found = viewer.get(reverse("runs-actions")).json()
    assert [each["id"] for each in found["results"]] == [acts.second, acts.first]
    first = found["results"][1]
    told = {name: first[name] for name in ("action", "by", "reason", "total", "done", "worked", "refused", "filters")}
    assert told == {
        "action": "pause",
        "by": members.operator.name,
        "reason": "month end",
        "total": 2,
        "done": 2,
        "worked": 1,
        "refused": 1,
        "filters": {"query": "status=open&definition=acted"},
    }
    for query, wanted in (
        ({"state": "open"}, [acts.second]),
        ({"state": "ended", "action": "pause"}, [acts.first]),
        ({"by": members.admin.name}, [acts.second]),
    ):
        assert [each["id"] for each in viewer.get(reverse("runs-actions"), query).json()["results"]] == wanted
    assert viewer.get(reverse("runs-actions"), {"state": "odd"}).status_code == 400
    older = viewer.get(viewer.get(reverse("runs-actions"), {"page_size": 1}).json()["next"]).json()
    assert [each["id"] for each in older["results"]] == [acts.first]


def test_many_of_them_need_no_more_queries(client, members, acts):
    client.force_login(members.viewer.user)
    client.get("/runs/actions/")

    def queries():
        with CaptureQueriesContext(connection) as found:
            client.get("/runs/actions/")
        return len(found)

    few = queries()
    for _ in range(20):
        act(CANCEL, bulk.Chosen(ids=[acts.runs[1].public_id]), members.operator, "x")
    assert Bulk.objects.count() == 22
    assert queries() == few <= 15


def test_it_is_led_to_from_the_runs_and_the_palette(client, members):
    client.force_login(members.viewer.user)
    for place in ("/runs/", "/go/actions/"):
        assert 'href="/runs/actions/"' in client.get(place).content.decode(), place
