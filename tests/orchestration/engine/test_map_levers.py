"""How many items of a map are at work at once, changed while it is under way."""

import contextlib
import re

import pytest

from accounts.models import AuditEntry
from agents import tools
from agents.calls import Result
from orchestration.engine.levers import adjusting, pausing
from orchestration.exceptions import Refused
from orchestration.models import Event, Run, Step
from tests.harness import assert_sound, claim, end, make_worker, race, until
from tests.orchestration.engine.looks import step
from tests.orchestration.engine.test_maps import items, map_of, spread
from tests.orchestration.test_levers import frozen


def laid(begin, count=6, window=2, how=""):
    """A map whose items a worker of the test claims."""
    run = begin(map_of(f"concurrency: {window}{how}"), {"list": list(range(count))})
    worker = make_worker()
    spread(run, worker, count, window=window, bearable=count)
    return run, worker


def change(run, concurrency, by=None):
    adjusting.set_concurrency(run, step(run, "a"), by=by, reason="so", concurrency=concurrency)


def at_work(run):
    return items(run, status__in=["ready", "running", "waiting", "uncertain"])


def test_raised_it_lets_more_items_go_at_once_in_their_order(begin, members):
    run, worker = laid(begin)
    held = claim(worker, 9)
    change(run, 4, by=members.operator)
    assert [one.index for one in at_work(run)] == [0, 1, 2, 3]
    more = claim(worker, 9)
    assert [key for _, key, _ in more] == [one.key for one in items(run, index__in=[2, 3])]
    told = Event.objects.get(run=run, type="run.changed")
    assert told.data == {
        "by": members.operator.name,
        "reason": "so",
        "step": "a",
        "round": 1,
        "from": {"concurrency": 2},
        "to": {"concurrency": 4},
    }
    entry = AuditEntry.objects.get(action="run.change", target=run.public_id)
    assert (entry.actor, entry.data["concurrency"], entry.data["step"]) == (members.operator, 4, "a")
    end(worker, held[0], output=0)
    assert len(at_work(run)) == 4
    for place in [*held[1:], *more, *claim(worker, 9)]:
        end(worker, place, output=0)
    end(worker, claim(worker, 9)[0], output=0)
    assert [one.status for one in items(run)] == ["completed"] * 6
    assert_sound(run.pk)


def test_lowered_it_stops_nothing_and_lets_nobody_go_until_fewer_are_at_work(begin):
    run, worker = laid(begin, count=8, window=4)
    held = claim(worker, 9)
    change(run, 2)
    assert [one.status for one in at_work(run)] == ["running"] * 4
    for place, left in zip(held[:2], (3, 2), strict=True):
        end(worker, place, output=0)
        assert (claim(worker, 9), len(at_work(run))) == ([], left)
    end(worker, held[2], output=0)
    assert len(at_work(run)) == 2
    change(run, 3)
    assert len(at_work(run)) == 3
    assert_sound(run.pk)


def test_ends_in_one_batch_count_together(begin):
    run, worker = laid(begin, count=9, window=4)
    held = claim(worker, 9)
    change(run, 3)
    for place in held:
        end(worker, place, output=0)
    assert len(at_work(run)) == 3
    change(run, 1)
    change(run, 2)
    for place in claim(worker, 9):
        end(worker, place, output=0)
    assert len(at_work(run)) == 2
    assert_sound(run.pk)


def test_items_of_a_paused_run_that_are_let_go_start_when_it_goes_on(begin):
    run, worker = laid(begin)
    held = claim(worker, 9)
    pausing.pause(run, by=None, reason="x")
    change(run, 6)
    assert (len(at_work(run)), claim(worker, 9)) == (6, [])
    assert {one.priority for one in items(run, status="ready")} == {-32768}  # where they hide nothing
    pausing.resume(run, by=None, reason="x")
    for place in [*held, *claim(worker, 9)]:
        end(worker, place, output=0)
    assert_sound(run.pk)


def test_the_time_of_an_item_that_is_let_go_begins_then(begin):
    text = map_of("concurrency: 1", rest="output: 1\n").replace("agent: echo", "agent: echo, timeout: {queue: 9m}")
    run = begin(text, {"list": [1, 2]})
    spread(run, make_worker(), 2, window=1, patience=540)
    change(run, 2)
    assert [one.deadline_at is None for one in items(run)] == [False, False]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("", "Step a is running; this is for one that is waiting."),
        (", map: {over: [1, 2]}", "Step a has no items that wait for their turn."),
        (", map: {over: [1, 2], concurrency: 2}", "Step a has no items that wait for their turn."),
    ],
)
def test_what_has_no_items_that_wait_is_refused_in_words(begin, engine, hold, operator, how, why):
    run = begin(f"  a: {{agent: hold{how}}}\n")
    engine.look()
    until(lambda: hold.calls)
    until(lambda: not Step.objects.filter(run=run, status="ready").exists())
    before = frozen(run)
    url = f"/api/v1/runs/{run.public_id}/steps/a/concurrency/"
    looked = operator.get(url).json()
    answer = operator.post(url, {"concurrency": 2, "reason": "so"}, format="json")
    refused = "The run has let all items of this step go; only a map of which items wait for their turn can be changed."
    assert (answer.status_code, answer.json()["detail"]) == (409, refused)
    assert looked["refusal"] == why
    assert frozen(run) == before
    hold.go.set()


def test_what_no_state_would_allow_is_refused_at_its_place(begin, operator, viewer):
    run, _ = laid(begin)
    url = f"/api/v1/runs/{run.public_id}/steps/a/concurrency/"
    assert viewer.post(url, {"concurrency": 2, "reason": "so"}, format="json").status_code == 403
    before = frozen(run)
    for given in ({"concurrency": 0}, {"concurrency": "x"}, {}):
        answer = operator.post(url, {**given, "reason": "so"}, format="json")
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/concurrency")
    assert frozen(run) == before
    assert operator.get(url).json()["preview"] == [
        "2 at once now: 0 of 6 items have ended, 2 are at work, 4 wait for their turn."
    ]


def test_the_panel_and_the_api_say_how_many_items_are_at_work_at_once(begin, members, operator, client):
    run, _ = laid(begin)
    client.force_login(members.operator.user)

    def told():
        (shown,) = operator.get(f"/api/v1/runs/{run.public_id}/").json()["steps"]
        page = client.get(f"/runs/{run.public_id}/?step=a").content.decode()
        return shown["items"], re.search(r"<dt>Items</dt><dd>(.*?)</dd>", page)[1]

    assert told() == ({"count": 6, "at_once": 2}, "6, 2 at once")
    change(run, 5)
    assert told() == (
        {"count": 6, "at_once": 5},
        '6, 5 at once <span class="dim">as a person said; the definition says 2</span>',
    )


def test_a_map_that_ended_meanwhile_is_refused(begin):
    run, worker = laid(begin, count=3, window=1)
    head = step(run, "a")
    for _ in range(3):
        end(worker, claim(worker)[0], output=0)
    end(worker, claim(worker)[0], output=[0, 0, 0])
    with pytest.raises(Refused, match="has let all items of this step go"):
        adjusting.set_concurrency(run, head, by=None, reason="so", concurrency=2)
    worker = make_worker()
    while found := claim(worker):
        end(worker, found[0], output=1)
    assert Run.objects.get(pk=run.pk).status == "completed"
    with pytest.raises(Refused, match="The run is completed"):
        adjusting.set_concurrency(run, head, by=None, reason="so", concurrency=2)


def test_workers_go_on_by_the_window_as_it_is_changed(begin, engine_later, finished, save_agent, settings):
    settings.WORKER_THREADS = 16
    now, most = set(), []

    def count(call):
        now.add(call.input["value"])
        most.append(len(now))
        until(lambda: opened or call.canceled())
        now.discard(call.input["value"])
        return Result({"value": call.input["value"]})

    opened = []
    tools.register("count", {"count": count})
    save_agent(name="count", kind="tool", configuration={"tool": "count"})
    run = begin(map_of("concurrency: 2", agent="count"), {"list": list(range(60))})
    engine = engine_later()
    engine.look()
    until(lambda: len(now) == 2)
    change(run, 5)
    engine.look()
    until(lambda: len(now) == 5)
    change(run, 1)
    most.clear()
    opened.append(True)
    run = finished(run)
    assert run.output == [{"value": n} for n in range(60)]
    assert max(most) == 1


def test_changes_and_ends_at_once_leave_nothing_between(begin, committed):
    run, worker = laid(begin, count=40, window=3, how=", tolerate: 40")

    def work(_):
        for place in claim(worker):
            while "busy" in end(worker, place, output=0):
                pass

    def turn(number):
        if any(one.status == "blocked" for one in items(run)):
            with contextlib.suppress(Refused):  # they have all been let go meanwhile
                change(run, 1 + number % 4)

    race(30, work, turn, work)
    while items(run, status__in=["ready", "blocked", "running"]):
        for place in claim(worker, 9):
            end(worker, place, output=0)
    assert [one.status for one in items(run)] == ["completed"] * 40
    assert_sound(run.pk)
