"""Steps under limits, on a whole engine."""

import threading
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from django.db import transaction
from django.utils import timezone

from agents import tools
from agents.calls import Result
from agents.exceptions import Temporary
from orchestration.doctor import examine
from orchestration.engine import housekeeper, slots
from orchestration.models import Event, Limit, LimitPlace, LimitSlot, RateHit, Run, Step
from tests.harness import until
from tests.orchestration.engine.looks import step

MOST, CALLS = 3, 12


class Counter:
    """Answers when so many are in at once as there may be, and no sooner: so they are, unless fewer are let in."""

    def __init__(self):
        self.changed = threading.Condition()
        self.inside = self.begun = self.ended = self.highest = 0

    def answer(self):
        with self.changed:
            self.inside += 1
            self.begun += 1
            self.highest = max(self.highest, self.inside)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.begun >= min(CALLS, MOST + self.ended), 20)
            self.inside -= 1
            self.ended += 1
            self.changed.notify_all()


@contextmanager
def serving(counter):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            counter.answer()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def counted(save_agent):
    counter = Counter()
    with serving(counter) as url:

        def fetch(call):
            httpx2.get(url, timeout=30).raise_for_status()
            return Result({})

        tools.register("fetch", {"fetch": fetch})
        save_agent(name="fetch", kind="tool", configuration={"tool": "fetch"})
        yield counter


def test_no_more_calls_than_a_limit_allows_are_made_at_once(engine_later, begin, finished, counted):
    engine_later()
    engine_later()  # the limit is theirs together
    items = list(range(CALLS // 2))
    text = f"  a: {{agent: fetch, map: {{over: {items}}}, concurrency: {{key: server, max: {MOST}}}}}"
    runs = [begin(text), begin(text)]
    assert [finished(run, 60).status for run in runs] == ["completed"] * 2
    assert (counted.highest, counted.begun, counted.ended) == (MOST, CALLS, CALLS)
    until(lambda: Limit.objects.filter(taken=0, promised=0).exists())
    assert not LimitSlot.objects.exists()
    assert not LimitPlace.objects.exists()


def test_no_window_of_a_rate_holds_more_units_than_it_may(engine, begin, finished):
    items = [2, 1, 3, 1, 1, 2, 3, 1]
    run = begin(
        f"  a: {{agent: echo, map: {{over: {items}}}, with: {{value: 1}},"
        " rate: {key: r, max: 4, per: 300ms, units: '${{ item }}'}}"
    )
    assert finished(run).status == "completed"
    hits = list(RateHit.objects.order_by("upto").values_list("at", "units"))
    assert sorted(units for _, units in hits) == sorted(items)
    for begins, _ in hits:
        ends = begins + timedelta(milliseconds=300)
        assert sum(units for at, units in hits if begins <= at < ends) <= 4


def test_a_step_says_which_limit_it_waits_for_who_holds_it_and_since_when(engine, begin, finished, hold):
    first = begin("  a: {agent: hold, concurrency: {key: k, max: 1}}")
    until(lambda: hold.calls)
    second = begin("  a: {agent: hold, concurrency: {key: k, max: 1}}")
    third = begin("  a: {agent: hold, concurrency: {key: k, max: 1}}")
    until(lambda: Step.objects.filter(waits_for="limit").count() == 2)
    until(lambda: not LimitPlace.objects.filter(stirred_at__isnull=False).exists())
    slugs = dict(Run.objects.values_list("pk", "definition_version__definition__slug"))
    (one,), (other,) = (run.explain() for run in sorted([second, third], key=lambda run: place_of(run).pk))
    assert one.sentence.startswith("a has waited ")
    assert f"the limit “k”, of which 1 of 1 is taken, the first by {slugs[first.pk]} for" in one.sentence
    assert (one.since, one.step) == (place_of(min((second, third), key=lambda run: place_of(run).pk)).since, "a")
    assert other.sentence.endswith(", 1 before it in line.")
    told = Event.objects.get(run=second, type="step.waiting").data
    assert (told["waits_for"], told["kind"], told["key"]) == ("limit", "steps", "k")
    hold.go.set()
    assert {finished(run).status for run in (first, second, third)} == {"completed"}


def place_of(run):
    return LimitPlace.objects.get(run_id=run.pk)


def test_to_wait_for_a_limit_is_no_try(engine, begin, finished, hold):
    first = begin("  a: {agent: hold, concurrency: {key: k, max: 1}}")
    until(lambda: hold.calls)
    second = begin("  a: {agent: hold, concurrency: {key: k, max: 1}, retry: {attempts: 2, backoff: 10ms, total: 1h}}")
    until(lambda: Step.objects.filter(waits_for="limit").exists())
    assert step(second, "a").first_at is None  # its time for all tries has not begun
    hold.errors = [Temporary("no"), Temporary("no")]
    hold.go.set()
    assert {run.status for run in map(finished, (first, second))} <= {"completed", "failed"}
    assert len(hold.calls) == 3
    assert step(second, "a").attempt == 2


def test_a_step_holds_its_slot_while_its_child_is_at_work(engine, begin, save, finished, hold):
    save("name: child\nsteps: {a: {agent: hold}}")
    first = begin("  a: {run: child, concurrency: {key: k, max: 1}}")
    until(lambda: hold.calls)
    second = begin("  a: {run: child, concurrency: {key: k, max: 1}}")
    until(lambda: Step.objects.filter(waits_for="limit", run=second).exists())
    assert LimitSlot.objects.get().run_id == first.pk
    hold.go.set()
    assert {finished(run).status for run in (first, second)} == {"completed"}


@pytest.mark.parametrize("what", ["slot", "start", "place"])
def test_what_was_left_behind_of_one_that_is_gone_is_the_next_ones(engine_later, begin, finished, monkeypatch, what):
    monkeypatch.setattr(housekeeper, "EVERY_SECONDS", 0.05)
    text = "  a: {agent: echo, concurrency: {key: k, max: 1}}\n"
    engine_later()
    gone = finished(begin(text))
    until(lambda: not LimitSlot.objects.exists())
    limit = Limit.objects.get()
    with transaction.atomic():
        if what != "place":
            LimitSlot.objects.create(limit_id=limit.pk, run_id=gone.pk, key=int(what == "slot"), fence=1)
            Limit.objects.update(taken=1)
        else:
            LimitPlace.objects.create(limit_id=limit.pk, run_id=gone.pk, key=1, fence=1, woken_at=timezone.now())
            Limit.objects.update(promised=1)
    assert finished(begin(text)).status == "completed"
    assert not LimitPlace.objects.exists()
    until(lambda: not examine())


def test_what_is_held_is_not_taken_for_left_behind(engine_later, begin, save, finished, hold):
    save("name: below\nsteps: {a: {agent: hold}}")
    engine_later()
    runs = [begin("  a: {run: below, concurrency: {key: k, max: 1}}\n") for _ in range(2)]
    until(lambda: hold.calls and LimitPlace.objects.exists())
    until(lambda: not LimitPlace.objects.filter(stirred_at__isnull=False).exists())
    assert slots.stir_left() == 0
    hold.go.set()
    assert {finished(run).status for run in runs} == {"completed"}


def test_keys_that_are_none_and_units_that_cannot_be_had_fail_the_step(engine, begin, finished):
    run = begin(
        "  empty: {agent: echo, concurrency: {key: '${{ input.x }}', max: 1}}\n"
        "  many: {agent: echo, rate: {key: r, max: 4, per: 1h, units: '${{ input.n }}'}}\n"
        "  half: {agent: echo, rate: {key: r, max: 4, per: 1h, units: '${{ input.n / 2.0 }}'}}\n",
        {"x": "", "n": 5},
    )
    assert finished(run).status == "failed"
    errors = {name: step(run, name).error for name in ("empty", "many", "half")}
    assert {name: error["class"] for name, error in errors.items()} == {
        "empty": "expression",
        "many": "permanent",
        "half": "expression",
    }
    assert errors["many"]["message"] == "It counts for more units than may be had at once under r: 4."
