"""A run's log: what steps say, numbered, kept, masked, read and searched."""

import asyncio
import re
import threading
import time

import psycopg
import pytest
from django.db import connection, connections
from django.test import AsyncClient
from django.urls import reverse

from accounts.models import ApiToken
from agents import tools
from agents.calls import Result
from agents.exceptions import Permanent, Temporary
from orchestration.engine import lines
from orchestration.engine.connection import rows
from orchestration.engine.secrets import masked
from orchestration.models import LogHead, LogLine
from tests.factories import MemberFactory
from tests.harness import database_url, race, until

WRITE = lines.WRITE


def said(run, count=0):
    """(level, text) of its lines, as soon as there are so many."""
    until(lambda: LogHead.of(run).number >= count)
    found = list(LogLine.objects.filter(run_id=run.pk).order_by("number").values_list("number", "level", "text"))
    assert [number for number, *_ in found] == list(range(1, len(found) + 1))
    head = LogHead.of(run)
    assert (head.number, head.errors) == (len(found), sum(level == "error" for _, level, _ in found))
    return [(level, text) for _, level, text in found]


@pytest.fixture
def speak(save_agent):
    """An agent `speaker` whose calls do what the test says."""

    def speak(do):
        tools.register("speaker", {"speaker": do})
        save_agent(name="speaker", kind="tool", configuration={"tool": "speaker"})

    return speak


def test_the_lines_of_a_step_are_there_when_it_has_ended(engine, begin, finished, monkeypatch):
    monkeypatch.setattr(lines, "FLUSH_SECONDS", 30)  # on a machine however busy
    run = begin("  s: {agent: echo, with: {lines: 300}}\n")
    finished(run)
    found = said(run)
    assert len(found) == 300
    assert found[49][1].startswith("\x1b[36mcheckpoint")


def test_each_failed_try_has_a_line_with_its_class_and_message(engine, begin, finished):
    run = begin(
        "  s: {agent: echo, with: {fail: {times: 2}}, retry: {attempts: 3, backoff: 10ms}}\n"
        "  t: {agent: echo, with: {fail: {kind: permanent}}}\n"
    )
    finished(run)
    by_level = {}
    for level, text in said(run, 3):
        by_level.setdefault(level, []).append(text)
    assert [text.partition(" (")[0] for text in by_level["warning"]] == [
        f"Attempt {n} failed: temporary: echo fails as told, attempt {n} of 2." for n in (1, 2)
    ]
    assert by_level["error"] == ["Attempt 1 failed: permanent: echo fails as told, attempt 1 of 1."]


def test_what_cannot_be_kept_is_made_to_fit(engine, begin, finished, speak, settings):
    settings.OPENAI_API_KEY = "a-key-of-the-provider"

    def do(call):
        call.log("one\ntwo\r\nthree\n")
        call.log("zero \0 half \ud800 key a-key-of-the-provider", "nonsense")
        call.log("x" * 70_000, "debug")
        call.log(ValueError("no text"))
        return Result({})

    speak(do)
    run = begin("  s: {agent: speaker}\n")
    finished(run)
    found = said(run, 6)
    assert found[:4] == [("info", "one"), ("info", "two"), ("info", "three"), ("info", "zero  half ? key ***")]
    assert found[4] == ("debug", "x" * 65_536 + " … 4464 bytes cut")
    assert found[5] == ("info", "no text")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token cs_0123456789abcdefABCDEF used", "token *** used"),
        ("sk-proj-0123456789abcdefgh", "***"),
        ("Authorization: Bearer abc.DEF-123~xyz", "Authorization: Bearer ***"),
        ("postgres://joe:hunter22@db:5432/x failed", "postgres://***@db:5432/x failed"),
        ("redis://:hunter22@db/0", "redis://***@db/0"),
        ("cs_x and a task sk-1 stay, http://host:80/x?a@b too", "cs_x and a task sk-1 stay, http://host:80/x?a@b too"),
        ("the key is A-Key-Of-The-Provider!", "the key is ***!"),
    ],
)
def test_secrets_do_not_reach_the_log(settings, text, shown):
    settings.OPENAI_API_KEY = "a-key-of-the-provider"
    assert masked(text) == shown


def test_lines_of_many_processes_are_numbered_without_a_gap(committed, begin):
    runs = [begin("  s: {agent: echo}\n") for _ in range(3)]

    def write(number):
        order = [run.pk for run in runs]
        order = order[number % 3 :] + order[: number % 3]
        rows(WRITE, [order * 5, [1] * 15, [1] * 15, [0.0] * 15, ["info", "error", "info"] * 5, ["x"] * 15])

    race(30, write, write, write)
    for run in runs:
        assert len(said(run)) == 30 * 3 * 5


def test_a_commit_whose_answer_was_lost_is_not_written_twice(committed, begin, monkeypatch):
    """The connection is cut right after the commit, and right before it."""
    run = begin("  s: {agent: echo}\n")
    writer = Said(run)
    plain = lines.LineWriter._insert
    cuts = iter(["before", "after", "after", ""])

    def insert(self, batch):
        found = plain(self, batch)
        match next(cuts):
            case "before":
                cut_here()
            case "after":
                connection.connection.commit()  # the answer to the commit that follows is lost
                cut_here()
        return found

    monkeypatch.setattr(lines.LineWriter, "_insert", insert)
    writer.start()
    for text in ("one", "two", "three"):
        writer.say(text)
        writer.flush_long()
    writer.stop()
    assert [text for _, text in said(run)] == ["one", "two", "three"]


def cut_here():
    """End the server's side of this thread's connection."""
    pid = connection.connection.info.backend_pid
    with psycopg.connect(database_url().partition("?")[0].replace("postgres://", "postgresql://"), **hosts()) as other:
        other.execute("select pg_terminate_backend(%s, 5000)", [pid])


def hosts():
    return {"host": connection.settings_dict["OPTIONS"].get("host") or connection.settings_dict["HOST"]}


class Said:
    """A writer for one step of a run."""

    def __init__(self, run):
        self.writer = lines.LineWriter()
        self.claim = type("Place", (), {"run": run.pk, "key": 1, "attempt": 1})

    def start(self):
        self.writer.start()

    def say(self, text, level="info"):
        self.writer.say(self.claim, text, level)

    def flush_long(self):
        until(lambda: self.writer._written == self.writer._said)

    def stop(self):
        self.writer.stop(30)
        assert not self.writer.is_alive()


def test_what_cannot_be_written_in_time_is_counted(committed, begin, monkeypatch):
    monkeypatch.setattr(lines, "MOST_LINES", 10)
    run = begin("  s: {agent: echo}\n")
    writer = Said(run)
    for number in range(25):
        writer.say(f"line {number}")
    writer.start()
    writer.stop()
    assert said(run) == [("info", f"line {number}") for number in range(10)] + [
        ("warning", "15 lines dropped: they came faster than they could be written")
    ]


def test_a_database_that_hangs_holds_up_no_step(committed, begin):
    """Someone holds the head row of the run: its writer waits, and who speaks does not."""
    run = begin("  s: {agent: echo}\n")
    writer = Said(run)
    writer.start()
    writer.say("first")
    writer.flush_long()
    released = threading.Event()
    held = threading.Event()

    def hold():
        try:
            with connection.cursor() as cursor:
                cursor.execute("begin")
                cursor.execute("select from orchestration_loghead where run_id = %s for update", [run.pk])
                held.set()
                released.wait(30)
                cursor.execute("commit")
        finally:
            connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    for number in range(100):
        writer.say(f"line {number}")
        writer.writer.flush()  # the first of them waits, for at most half a second; if each did, the lock would be gone
    assert holder.is_alive()
    released.set()
    holder.join(30)
    writer.flush_long()
    writer.stop()
    assert len(said(run)) == 101


def test_what_was_said_last_is_written_when_a_worker_stops(engine_later, begin, speak):
    speaking = threading.Event()

    def do(call):
        call.log("started")
        speaking.set()
        while not call.canceled():
            time.sleep(0.005)
        call.log("stopped half-way")
        raise Temporary("asked to stop")

    speak(do)
    here = engine_later()
    run = begin("  s: {agent: speaker}\n")
    assert speaking.wait(30)
    rows("select engine_cancel_v1(%s, 'canceled', '{}')", [run.pk])
    here.stop()
    assert [text for _, text in said(run, 2)][:2] == ["started", "stopped half-way"]


def test_steps_that_say_nothing_write_nothing(engine, begin, finished):
    run = begin("  s: {agent: echo}\n  t: {agent: echo, needs: [s]}\n")
    finished(run)
    assert said(run) == []
    assert not LogHead.objects.filter(pk=run.pk).exists()


def test_a_step_that_fails_after_many_lines_has_them_all(engine, begin, finished, speak):
    def do(call):
        for number in range(5_000):
            call.log(f"line {number}", "debug")
        raise Permanent("and then it broke")

    speak(do)
    run = begin("  s: {agent: speaker}\n")
    finished(run)
    assert said(run, 5_001)[-1] == ("error", "Attempt 1 failed: permanent: and then it broke")


# --- reading it


@pytest.fixture
def write(begin):
    """A run with these lines, (level, text) each, of its step s; and others of its step t."""

    def write(*lines, others=0):
        run = begin("  s: {agent: echo}\n  t: {agent: echo}\n")
        count = len(lines)
        levels, texts = [level for level, _ in lines], [text for _, text in lines]
        if count:
            rows(WRITE, [[run.pk] * count, [1] * count, [1] * count, [0.0] * count, levels, texts])
        if others:
            rows(
                WRITE,
                [[run.pk] * others, [2] * others, [2] * others, [0.0] * others, ["info"] * others, ["t"] * others],
            )
        return run

    return write


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


MANY = [("debug", f"line {number}") for number in range(1, 1301)]


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
