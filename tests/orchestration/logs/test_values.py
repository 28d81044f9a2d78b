"""Streams of a run as they are written and read: numbered, in order, each once, whatever befalls the database."""

import pytest
from django.urls import reverse

from agents import tools
from agents.calls import Result
from agents.exceptions import Temporary
from orchestration.engine import lines
from orchestration.engine.connection import rows
from orchestration.engine.lines import EMIT
from orchestration.feeds.readers import newer_values
from orchestration.models import LogLine, StreamHead, StreamValue
from tests.factories import MemberFactory
from tests.harness import race
from tests.orchestration.logs.test_writing import CUTS, Said

STEP = "  s: {agent: emitter}\n"


@pytest.fixture
def emits(save_agent, engine, begin, finished, monkeypatch):
    """A run of an agent that does this."""
    monkeypatch.setattr(lines, "FLUSH_SECONDS", 30)  # on a machine however busy

    def emits(do, text=STEP):
        tools.register("emitter", {"emitter": do})
        save_agent(name="emitter", kind="tool", configuration={"tool": "emitter"})
        run = begin(text)
        engine.look()
        return finished(run)

    return emits


@pytest.fixture
def handed(begin):
    """A run with so many values of its step s, and three of step t in another stream."""

    def handed(count):
        run = begin("  s: {agent: echo}\n  t: {agent: echo}\n")
        for key, name, total in ((1, "a", count), (2, "b", 3)):
            texts = [str(number) for number in range(total)]
            rows(EMIT, [[run.pk] * total, [key] * total, [1] * total, [0.0] * total, [name] * total, texts])
        return run

    return handed


def kept(run, name):
    found = list(StreamValue.objects.filter(run_id=run.pk, name=name).order_by("number"))
    assert [each.number for each in found] == list(range(1, len(found) + 1))
    assert StreamHead.objects.get(run_id=run.pk, name=name).number == len(found)
    return [each.value for each in found]


def test_values_lie_in_their_streams_in_order_when_the_step_has_ended(emits):
    def do(call):
        for number in range(3000):
            call.emit("rows", {"n": number})
        call.emit("note", None)
        call.emit("rows", "last")
        return Result({})

    run = emits(do)
    assert kept(run, "rows") == [*({"n": number} for number in range(3000)), "last"]
    assert kept(run, "note") == [None]


def test_each_try_hands_out_its_own(emits):
    def do(call):
        call.emit("tries", call.attempt)
        if call.attempt == 1:
            raise Temporary("once more")
        return Result({})

    run = emits(do, "  s: {agent: emitter, retry: {attempts: 2, backoff: 10ms}}\n")
    assert kept(run, "tries") == [1, 2]
    found = StreamValue.objects.filter(run_id=run.pk).order_by("number")
    assert list(found.values_list("attempt", flat=True)) == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("", 1, "name"),
        ("a b", 1, "name"),
        ("a/b", 1, "name"),
        ("é", 1, "name"),
        ("x" * 101, 1, "name"),
        (None, 1, "name"),
        ("a", float("nan"), "no JSON"),
        ("a", {1, 2}, "no JSON"),
        ("a", "zero \0", "zero character"),
        ("a", "half \ud800", "half a character"),
        ("a", "x" * 65_535, "at most 65,536"),
    ],
)
def test_what_cannot_be_kept_fails_the_step_in_words(emits, name, content, words):
    run = emits(lambda call: call.emit(name, content))
    assert (run.status, run.error["class"]) == ("failed", "permanent")
    assert words in run.error["message"]
    assert not StreamHead.objects.exists()


def test_a_connection_that_is_lost_loses_and_doubles_no_value(committed, begin, through_cutter):
    run = begin("  s: {agent: echo}\n")
    writer = Said(run)
    writer.start()
    for text, before in CUTS:
        through_cutter.cut(text.encode(), then=b"COMMIT", before=before)
        writer.writer.emit(writer.claim, "a", text)
        writer.flush_long()
    writer.stop()
    assert through_cutter.cuts == len(CUTS)
    assert kept(run, "a") == [text for text, _ in CUTS]


def test_what_cannot_be_written_in_time_is_counted(committed, begin, monkeypatch):
    monkeypatch.setattr(lines, "MOST_LINES", 10)
    run = begin("  s: {agent: echo}\n")
    writer = Said(run)
    for number in range(25):
        writer.writer.emit(writer.claim, "a", number)
    writer.start()
    writer.stop()
    assert kept(run, "a") == list(range(10))
    assert LogLine.objects.get(run_id=run.pk).text.startswith("15 values dropped")


def test_two_writers_of_one_stream_number_without_a_gap(committed, begin):
    run = begin("  s: {agent: echo}\n")

    def write(key):
        rows(EMIT, [[run.pk] * 3, [key] * 3, [1] * 3, [0.0] * 3, ["a", "b", "a"], ["1", "2", "3"]])

    race(50, lambda n: write(1), lambda n: write(2))
    assert (len(kept(run, "a")), len(kept(run, "b"))) == (200, 100)


def test_a_stream_is_read_by_pages(handed, viewer):
    run = handed(1300)
    listed = viewer.get(reverse("run-streams", args=[run.public_id])).json()
    assert listed == {"results": [{"name": "a", "values": 1300}, {"name": "b", "values": 3}]}
    seen, address = [], reverse("run-stream", args=[run.public_id, "a"]) + "?limit=1000"
    while address:
        page = viewer.get(address).json()
        seen += page["results"]
        address = page["next"]
    assert [one["value"] for one in seen] == list(range(1300))
    assert {(one["step"], one["round"], one["index"], one["attempt"]) for one in seen} == {("s", 1, None, 1)}
    late = viewer.get(reverse("run-stream", args=[run.public_id, "a"]), {"after": 1298}).json()
    assert [one["number"] for one in late["results"]] == [1299, 1300]


def test_a_value_says_of_which_item_it_is(emits, viewer):
    def do(call):
        call.emit("items", call.input["item"])
        return Result({})

    run = emits(do, "  s: {agent: emitter, map: {over: [10, 11, 12]}, with: {item: '${{ item }}'}}\n")
    found = viewer.get(reverse("run-stream", args=[run.public_id, "items"])).json()["results"]
    said = {(one["step"], one["round"], one["index"], one["value"]) for one in found}
    assert said == {("s", 1, 0, 10), ("s", 1, 1, 11), ("s", 1, 2, 12)}
    place = (run.pk, "items", 0)
    as_they_come, has_ended = newer_values([place])[place]
    assert has_ended
    assert [one | {"at": ""} for one in as_they_come] == [one | {"at": ""} for one in found]


def test_a_stream_is_refused_and_nothing_is_no_error(handed, viewer, client_of):
    run = handed(1)
    address = reverse("run-stream", args=[run.public_id, "never"])
    assert viewer.get(address).json() == {"results": [], "next": None}
    assert viewer.get(address, {"after": "x"}).status_code == 400
    stranger = client_of(MemberFactory(roles=["admin"]))
    assert stranger.get(address).status_code == 404
    assert stranger.get(reverse("run-streams", args=[run.public_id])).status_code == 404


def test_the_examples_import_tells_how_far_it_is(engine, begin, finished, monkeypatch):
    monkeypatch.setattr(lines, "FLUSH_SECONDS", 30)
    run = begin("  s: {agent: echo, with: {lines: 120}}\n")
    engine.look()
    finished(run)
    assert [value["batch"] for value in kept(run, "progress")] == [50, 100]
