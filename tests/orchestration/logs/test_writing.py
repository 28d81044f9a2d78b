"""A run's log as it is written: numbered, masked, made to fit, whatever befalls the database."""

import threading
import time

import pytest
from django.db import connection, connections

from agents import tools
from agents.calls import Result
from agents.exceptions import Permanent, Temporary
from orchestration.engine import lines
from orchestration.engine.connection import rows
from orchestration.engine.lines import WRITE
from orchestration.engine.secrets import masked
from orchestration.models import LogHead, LogLine
from tests.harness import race, until

# What is written, and whether the connection is cut before the commit of it arrives, or before its answer is read.
CUTS = [("cut-0", True), ("cut-1", False), ("cut-2", False)]


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


def test_a_commit_whose_answer_was_lost_is_not_written_twice(committed, begin, through_cutter):
    """The connection is cut right before the commit arrives, and right after it was done."""
    run = begin("  s: {agent: echo}\n")
    writer = Said(run)
    writer.start()
    for text, before in CUTS:
        through_cutter.cut(text.encode(), then=b"COMMIT", before=before)
        writer.say(text)
        writer.flush_long()
    writer.stop()
    assert through_cutter.cuts == len(CUTS)
    assert [text for _, text in said(run)] == [text for text, _ in CUTS]


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
    rows("select engine_cancel_v4(%s, 'canceled', '{}')", [run.pk])
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


def test_what_is_said_while_the_database_may_only_be_read_is_written_later(
    engine, begin, finished, speak, read_only, caplog
):
    begun, go = threading.Event(), threading.Event()

    def do(call):
        begun.set()
        go.wait(30)
        call.log("hello")
        return Result({"value": 1})

    speak(do)
    run = begin("  s: {agent: speaker}\n")
    engine.look()
    assert begun.wait(30)
    make_writable = read_only()
    go.set()
    until(lambda: any("lines_wait" in line and "read-only" in line for line in caplog.text.splitlines()))
    make_writable()
    finished(run)
    assert said(run, 1) == [("info", "hello")]


def test_a_transaction_that_a_crashed_server_never_heard_of_is_not_committed(committed):
    assert lines.LineWriter()._is_committed("999999999999") is False
