"""Streams of events from a real web process."""

import asyncio
import json

import pytest
import redis
from django.conf import settings
from django.db import connections

from accounts.models import ApiToken
from orchestration.engine import settling
from orchestration.engine.connection import rows, value
from orchestration.engine.hints import CHANGED, hints
from orchestration.engine.lines import EMIT
from tests.factories import MemberFactory
from tests.harness import Web, until

STEPS = "".join(f"  s{n}: {{agent: echo, with: {{value: {n}}}}}\n" for n in range(30))


@pytest.fixture
def web(committed, tmp_path):
    web = Web(tmp_path / "web.log").wait_until_ready()
    yield web
    web.stop()
    connections.close_all()


@pytest.fixture
def headers(members):
    _, plaintext = ApiToken.issue(member=members.viewer, name="t", scopes=["read"], expires_at=None, by=None)
    return {"Authorization": f"Bearer {plaintext}", "Accept": "text/event-stream"}


def address(run):
    return f"/api/v1/runs/{run.public_id}/events"


async def read(client, run, headers, *, started=None, at_most=None, query=""):
    """(ids, events) of one stream until its end, or until so many."""
    found = []
    async with client.stream("GET", address(run) + query, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        if started is not None:
            started.release()
        event = {}
        async for line in response.aiter_lines():
            if line:
                name, _, content = line.partition(": ")
                event[name] = content
                continue
            if "id" in event:
                body = json.loads(event["data"])
                assert (str(body["seq"]), body["type"]) == (event["id"], event["event"])
                found.append((int(event["id"]), event["event"]))
                if len(found) == at_most:
                    return found
            event = {}
    return found


def produce(run):
    """Every step of it, one commit each, without a worker."""
    for (key,) in rows("select key from orchestration_step where run_id = %s order by key", [run.pk]):
        rows(
            "update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s and key = %s",
            [run.pk, key],
        )
        settling.settle((run.pk, key, 1), "running", settling.Outcome("completed", output={"value": key}))
    connections.close_all()


def seen_by_the_end(run):
    return rows("select seq, type from orchestration_event where run_id = %s order by seq", [run.pk])


def test_150_streams_leave_the_site_its_connections_and_miss_nothing(web, begin, headers):
    run, other = begin(STEPS), begin(STEPS)

    async def listen():
        async with web.listening_client() as client:
            started = asyncio.Semaphore(0)
            streams = [
                asyncio.create_task(read(client, run if number % 3 else other, headers, started=started))
                for number in range(150)
            ]
            for _ in streams:
                await asyncio.wait_for(started.acquire(), 30)
            held = await asyncio.to_thread(connections_of_web)
            listed = await client.get("/api/v1/runs/", headers={**headers, "Accept": "application/json"})
            await asyncio.to_thread(produce, run)
            await asyncio.to_thread(produce, other)
            return held, listed, await asyncio.wait_for(asyncio.gather(*streams), 30)

    held, listed, found = asyncio.run(listen())
    assert held <= 9  # the pool's eight, and the reader's
    assert listed.status_code == 200
    assert [len(row) for row in found] == [32] * 150
    for number, events in enumerate(found):
        assert events == seen_by_the_end(run if number % 3 else other)


def connections_of_web():
    held = value("select count(*) from pg_stat_activity where application_name = 'web-under-test'")
    connections.close_all()
    return held


def test_a_stream_resumes_after_the_last_event_that_was_seen(web, begin, headers):
    run = begin(STEPS)
    produce(run)

    async def listen():
        async with web.listening_client() as client:
            first = await read(client, run, headers, at_most=7)
            resumed = {**headers, "Last-Event-ID": str(first[-1][0])}
            rest = await read(client, run, resumed, query="/?after=0")
            done = await client.get(address(run), headers={**headers, "Last-Event-ID": "32"})
            return first, rest, done

    first, rest, done = asyncio.run(listen())
    assert first + rest == seen_by_the_end(run)
    assert done.status_code == 204  # tells a browser not to come back


def values_address(run):
    return f"/api/v1/runs/{run.public_id}/streams/rows/"


def hand_out(run, *values):
    count = len(values)
    rows(
        EMIT,
        [[run.pk] * count, [1] * count, [1] * count, [0.0] * count, ["rows"] * count, list(map(json.dumps, values))],
    )
    hints.logged({run.pk})
    connections.close_all()


async def read_values(client, run, headers, *, started=None, at_most=None):
    """(ids, values) of one stream until its end, or until so many."""
    found = []
    async with client.stream("GET", values_address(run), headers=headers) as response:
        assert response.headers["content-type"] == "text/event-stream"
        async for line in response.aiter_lines():
            if started is not None:
                started.set()
            if line.startswith("data: "):
                body = json.loads(line.removeprefix("data: "))
                found.append((body["number"], body["value"]))
            if at_most is not None and len(found) == at_most:
                break
    return found


def test_a_stream_of_values_goes_on_until_the_run_has_ended_and_resumes(web, begin, headers):
    run = begin("  s: {agent: echo}\n")

    async def listen():
        async with web.listening_client() as client:
            started = asyncio.Event()
            stream = asyncio.create_task(read_values(client, run, headers, started=started))
            await asyncio.wait_for(started.wait(), 30)
            for values in ([1, {"two": 2}], [None], ["four"]):
                await asyncio.to_thread(hand_out, run, *values)
            await asyncio.to_thread(hand_out, run, *range(5, 700))
            first = await read_values(client, run, headers, at_most=3)
            resumed = {**headers, "Last-Event-ID": str(first[-1][0])}
            await asyncio.to_thread(produce, run)
            rest = await asyncio.wait_for(read_values(client, run, resumed), 30)
            done = await client.get(values_address(run), headers={**headers, "Last-Event-ID": "699"})
            return await asyncio.wait_for(stream, 30), first, rest, done

    whole, first, rest, done = asyncio.run(listen())
    assert whole == list(enumerate([1, {"two": 2}, None, "four", *range(5, 700)], start=1))
    assert first + rest == whole
    assert done.status_code == 204


def test_a_listener_that_goes_away_is_forgotten_and_a_session_listens_too(web, begin, headers, client, members):
    begun = begin("  s: {agent: echo}\n")
    client.force_login(members.viewer.user)
    session = {"Cookie": f"sessionid={client.cookies['sessionid'].value}", "Accept": "text/event-stream"}

    async def listen():
        async with web.listening_client() as asked:
            return await read(asked, begun, session, at_most=1)

    assert asyncio.run(listen()) == [(1, "run.started")]
    with web.client() as asked:
        until(lambda: "countersign_streams 0.0" in asked.get("/metrics").text)


def test_news_come_without_valkey_by_the_poll_and_with_it_at_once(web, begin, headers):
    run = begin("  s: {agent: echo}\n")

    async def listen():
        async with web.listening_client() as client:
            started = asyncio.Semaphore(0)
            stream = asyncio.create_task(read(client, run, headers, started=started))
            await started.acquire()
            with redis.from_url(settings.REDIS_URL) as hinting:
                hinting.publish(CHANGED, json.dumps(["nonsense", run.pk]))
            await asyncio.to_thread(silently_ended, run)
            return await asyncio.wait_for(stream, 30)

    assert asyncio.run(listen())[-1][1] == "run.completed"


def silently_ended(run):
    rows("update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s", [run.pk])
    item = settling.encode((run.pk, 1, 1), "running", settling.Outcome("completed"))
    rows(settling.FLUSH, [run.pk, f'[{{"n":1,{item.text}}}]'])
    connections.close_all()


def test_a_stream_is_refused_before_its_first_byte(web, begin, headers):
    run = begin("  s: {agent: echo}\n")
    _, stranger = ApiToken.issue(member=MemberFactory(roles=["admin"]), name="t", scopes=[], expires_at=None, by=None)

    async def ask():
        async with web.listening_client() as client:
            return [
                (await client.get(address(run), headers={**headers, **changes})).status_code
                for changes in (
                    {"Authorization": "Bearer nonsense"},
                    {"Authorization": f"Bearer {stranger}"},
                    {"Last-Event-ID": "x"},
                )
            ]

    assert asyncio.run(ask()) == [401, 404, 400]


def test_who_does_not_see_what_is_in_a_run_is_streamed_states_and_times(web, begin, headers):
    run = begin(f"name: hidden\nvisible_to: [builder]\nsteps:\n{STEPS}")
    produce(run)

    async def listen():
        async with web.listening_client() as client, client.stream("GET", address(run), headers=headers) as response:
            return [json.loads(line[6:]) async for line in response.aiter_lines() if line.startswith("data: ")]

    found = asyncio.run(listen())
    assert [(event["seq"], event["type"]) for event in found] == seen_by_the_end(run)
    assert set().union(*found) <= {"seq", "type", "at", "step", "round"}
