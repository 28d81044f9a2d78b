"""A run's log as it is read: in pages, filtered, searched, by the API and as a download."""

import asyncio
import re

import pytest
from django.test import AsyncClient
from django.urls import reverse

from accounts.models import ApiToken
from tests.factories import MemberFactory

MANY = [("debug", f"line {number}") for number in range(1, 1301)]


@pytest.fixture
def look(client, members):
    client.force_login(members.viewer.user)

    def look(run, query="", page="pages:run-log", status=200, **more):
        response = client.get(reverse(page, args=[run.public_id]) + query, **more)
        assert response.status_code == status
        return response

    return look


def numbers(response):
    return [int(number) for number in re.findall(r'<li id="L(\d+)"', response.content.decode())]


def test_the_newest_500_lines_come_with_the_page_and_links_lead_to_all(write, look):
    run = write(*MANY)
    seen = []
    page = look(run)
    assert numbers(page) == list(range(801, 1301))
    assert b">Newest<" not in page.content
    query = "?"
    for _ in range(3):
        page = look(run, query)
        seen = numbers(page) + seen
        older = re.search(r'id="log-older" href="([^"]*)"', page.content.decode())
        query = older[1].replace("&amp;", "&")
    assert query == ""
    assert b'rel="prev" hidden' in page.content
    assert seen == list(range(1, 1301))
    newer = look(run, "?after=500")
    assert numbers(newer) == list(range(501, 1001))
    assert b">Newest<" in newer.content


def test_a_line_has_an_address_wherever_it_is(write, look):
    run = write(*MANY)
    assert numbers(look(run, "?at=20")) == list(range(1, 270))
    assert numbers(look(run, "?at=1299")) == list(range(1049, 1301))


@pytest.mark.parametrize(
    "query",
    ["?at=0", "?before=x&after=-1&at=1.5", "?level=nonsense&step=x", "?at=999999999999999", "?q=%F0%9F"],
)
def test_nonsense_in_the_address_is_as_nothing(write, look, query):
    assert numbers(look(write(*MANY[:3]), query)) == [1, 2, 3]


def test_levels_and_steps_filter(write, look):
    run = write(("debug", "a"), ("info", "b"), ("warning", "c"), ("error", "d"), others=2)
    assert numbers(look(run, "?level=warning")) == [3, 4]
    assert numbers(look(run, "?level=info&step=s")) == [2, 3, 4]
    assert numbers(look(run, "?step=t")) == [5, 6]
    assert b"No such line" in look(run, "?step=t&level=error").content


def test_search_counts_all_and_leads_from_one_to_the_next(write, look):
    lines = [("info", f"{'Needle 100%' if number % 300 == 0 else 'hay'} {number}") for number in range(1, 1301)]
    lines[599] = ("info", "a \x1b[31mNee\x1b[0mdle 100%")
    run = write(*lines)
    first = look(run, "?q=needle+100%25").content.decode()
    assert "line 1 of 4" in first
    assert "<mark>Needle 100%</mark> 300" in first
    following = re.search(r'href="([^"]+)" rel="next"', first)[1].replace("&amp;", "&")
    assert following.endswith("at=600#L600")
    second = look(run, following.partition("#")[0]).content.decode()
    assert "line 2 of 4" in second
    assert 'at=300#L300" rel="prev"' in second.replace("&amp;", "&")
    assert "No line says" in look(run, "?q=100_").content.decode()


def test_hostile_lines_are_text(write, look):
    run = write(
        ("info", "<script>alert(1)</script> \x1b[31;1m<b>red</b>\x1b[0m \x1b]0;title\x07\x1b[2J&amp;"),
        ("info", "\x1b[38;5;196mfar\x1b[38;2;1;2;3m true \x1b[999999999999m\x1b["),
        ("info", "مرحبا \u202e evil " + "W" * 3_000),
    )
    page = look(run, "?q=b").content.decode()
    assert "<script>alert" not in page
    assert '<span class="ansi-bold ansi-red">&lt;<mark>b</mark>&gt;red&lt;/<mark>b</mark>&gt;</span>' in page
    assert "&amp;amp;" in page
    assert "title" not in re.findall(r'<span class="text">(.*?)</span></li>', page)[0]
    assert '<span class="text">far true </span>' in page


def test_a_long_line_is_cut_and_the_rest_is_a_click_away(write, look, client):
    run = write(("info", "x" * 4_000 + "THE END"))
    page = look(run).content.decode()
    assert "THE END" not in page
    assert "… 7 signs more" in page
    address = reverse("pages:run-log-line", args=[run.public_id, 1])
    whole = client.get(address)
    assert whole["Content-Type"].startswith("text/plain")
    assert whole.content.decode().endswith("THE END")
    assert client.get(address, headers={"HX-Request": "true"}).content.decode().endswith("THE END")
    assert client.get(reverse("pages:run-log-line", args=[run.public_id, 2])).status_code == 404


def test_an_open_page_gets_what_is_new_and_how_far_that_goes(write, look):
    run = write(*MANY, ("error", "at the end"))
    part = look(run, "?after=1299", page="pages:run-log-part")
    assert numbers(part) == [1300, 1301]
    assert (part["X-Line"], part["X-Seq"]) == ("1301", str(1301 + run.seq))
    assert b'hx-target="#log-state"' in part.content
    assert b"1 error" in part.content
    assert numbers(look(run, "?after=0&level=error", page="pages:run-log-part")) == [1301]
    assert numbers(look(run, "?before=601", page="pages:run-log-part")) == list(range(101, 601))


def test_the_log_of_others_is_not_found(write, client):
    run = write(("info", "secret"))
    client.force_login(MemberFactory(roles=["admin"]).user)
    pages = [reverse(name, args=[run.public_id]) for name in ("pages:run-log", "pages:run-log-part", "run-logs")]
    pages.append(reverse("pages:run-log-line", args=[run.public_id, 1]))
    assert [client.get(page).status_code for page in pages] == [404] * 4


def test_few_queries_read_a_log_however_long(write, look, django_assert_max_num_queries):
    run = write(*MANY, ("error", "x"), others=900)
    for query in ("", "?at=700", "?q=line&level=info&step=s"):
        with django_assert_max_num_queries(15):
            look(run, query)


def test_the_api_gives_lines_by_pages_and_filters_as_the_page_does(write, viewer):
    run = write(("debug", "a"), ("error", "\x1b[31mB\x1b[0m"), others=3)
    here = reverse("run-logs", args=[run.public_id])
    first = viewer.get(here + "?limit=2").json()
    assert [
        (line["number"], line["step"], line["attempt"], line["level"], line["text"]) for line in first["results"]
    ] == [
        (1, "s", 1, "debug", "a"),
        (2, "s", 1, "error", "\x1b[31mB\x1b[0m"),
    ]
    rest = viewer.get(first["next"]).json()
    assert [line["number"] for line in rest["results"]] == [3, 4]
    last = viewer.get(rest["next"]).json()
    assert ([line["number"] for line in last["results"]], last["next"]) == ([5], None)
    assert [line["number"] for line in viewer.get(here + "?level=warning").json()["results"]] == [2]
    assert [line["number"] for line in viewer.get(here + "?step=t&after=3").json()["results"]] == [4, 5]
    assert [line["number"] for line in viewer.get(here + "?q=b").json()["results"]] == [2]
    assert viewer.get(here + "?level=loud").status_code == 400


def test_a_log_is_downloaded_as_text_in_pieces(committed, write, members, monkeypatch):
    monkeypatch.setattr("orchestration.api.logs.CHUNK_LINES", 2)
    run = write(("debug", "a"), ("error", "\x1b[31mB\x1b[0m"), others=3)
    _, plaintext = ApiToken.issue(member=members.viewer, name="t", scopes=[], expires_at=None, by=None)

    async def download():
        headers = {"Authorization": f"Bearer {plaintext}", "Accept-Encoding": "gzip"}
        response = await AsyncClient().get(reverse("run-logs", args=[run.public_id]) + "?format=txt", headers=headers)
        assert response.status_code == 200, response.content
        return response, b"".join([piece async for piece in response.streaming_content]).decode()

    response, text = asyncio.run(download())
    assert run.public_id in response["Content-Disposition"]
    assert [line.partition(" ")[2] for line in text.splitlines()] == [
        "debug   s: a",
        "error   s: B",
        *["info    t: t"] * 3,
    ]
