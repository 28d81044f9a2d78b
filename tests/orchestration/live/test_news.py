"""Open pages hear that there is news, whatever befalls the hints."""

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connections
from websockets.exceptions import ConnectionClosed

from approvals.models import Policy, Request
from config.up.processes import Account
from config.up.services import services_of, socket_folder, wait_until_ready
from orchestration.engine import settling
from orchestration.engine.connection import rows, value
from orchestration.engine.hints import CHANGED
from tests.factories import MemberFactory, ask
from tests.harness import Web, until
from tests.orchestration.live.looks import STEPS, finally_closed, heard, look, signed_in


async def heard_until(page, seq):
    while (frame := await heard(page))["seq"] != seq:
        assert frame["seq"] < seq
    return frame


def end_step(run, key):
    rows(
        "update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s and key = %s",
        [run.pk, key],
    )
    settling.settle((run.pk, key, 1), "running", settling.Outcome("completed", output={"value": key}))
    connections.close_all()


def silently_end_step(run, key):
    """As when Valkey loses the hint."""
    rows(
        "update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s and key = %s",
        [run.pk, key],
    )
    item = settling.encode((run.pk, key, 1), "running", settling.Outcome("completed"))
    rows(settling.FLUSH, [run.pk, f'[{{"n":1,{item.text}}}]'])
    connections.close_all()


def newest(run):
    found = value("select seq from orchestration_run where id = %s", [run.pk])
    connections.close_all()
    return found


def test_a_page_hears_first_where_its_run_stands_and_then_of_every_move(web, begin, cookie):
    run = begin(STEPS)
    topic = f"run:{run.public_id}"

    async def play():
        async with look(web, topic, cookie) as page:
            assert await heard(page) == {"topic": topic, "seq": 1}
            await asyncio.to_thread(end_step, run, 1)
            return await heard_until(page, await asyncio.to_thread(newest, run))

    assert asyncio.run(play())["seq"] > 1


def test_a_page_of_the_organization_hears_of_its_runs_and_of_no_one_elses(web, begin, cookie):
    run = begin(STEPS)
    others = signed_in(MemberFactory(roles=["viewer"]))

    async def play():
        async with look(web, "organization", cookie) as page, look(web, "organization", others) as elsewhere:
            first, strangers_first = await heard(page), await heard(elsewhere)
            quiet, _ = await asyncio.gather(settled(page, first), settled(elsewhere, strangers_first))
            await asyncio.to_thread(end_step, run, 1)
            moved = await heard(page)
            assert moved["seq"] != quiet["seq"]
            with pytest.raises(TimeoutError):
                await heard(elsewhere, 1)

    asyncio.run(play())


async def settled(page, last):
    """The first slow look has been made, which may move the topic once."""
    try:
        while True:
            last = await heard(page, 5)
    except TimeoutError:
        return last


@pytest.mark.parametrize("topic", ["run", "organization"])
def test_a_lost_hint_delays_news_by_seconds_only(web, begin, cookie, topic):
    run = begin(STEPS)
    name = f"run:{run.public_id}" if topic == "run" else topic

    async def play():
        async with look(web, name, cookie) as page:
            last = await settled(page, await heard(page))
            await asyncio.to_thread(silently_end_step, run, 1)
            assert (await heard(page, 10))["seq"] != last["seq"]

    asyncio.run(play())


@pytest.mark.parametrize("what", ["definition", "agent", "question"])
def test_what_no_run_tells_of_moves_the_organization_too(web, members, cookie, save, save_agent, policies, what):
    definition = "name: greet\nsteps:\n  s: {agent: echo}\n"
    policy = Policy.objects.get(organization=members.viewer.organization, slug="default")
    early = ask(policy, subject="early")

    def change():
        if what == "definition":
            save(definition)
        elif what == "agent":
            save_agent(name="another", kind="tool", configuration={"tool": "echo"})
        else:  # as many as before, and the largest key is the same
            Request.objects.filter(pk=early.pk).update(id=early.pk - 1)

    ask(policy, subject="late")

    async def play():
        async with look(web, "organization", cookie) as page:
            last = await settled(page, await heard(page))
            await asyncio.to_thread(finally_closed, change)
            assert (await heard(page, 10))["seq"] != last["seq"]

    asyncio.run(play())


def test_nonsense_on_the_channel_harms_nobody(web, begin, cookie):
    run = begin(STEPS)

    async def play():
        async with look(web, f"run:{run.public_id}", cookie) as page:
            await heard(page)
            with redis.from_url(settings.REDIS_URL) as hinting:
                for said in ('["nonsense"]', "{", "7", "null", '[1, "2"]', "\xff"):
                    hinting.publish(CHANGED, said)
            await asyncio.to_thread(end_step, run, 1)
            await heard_until(page, await asyncio.to_thread(newest, run))

    asyncio.run(play())


def test_a_page_that_comes_back_hears_at_once_what_it_missed(web, begin, cookie, tmp_path):
    """Its web process was killed; it asks the next one."""
    run = begin(STEPS)
    topic = f"run:{run.public_id}"

    async def play():
        async with look(web, topic, cookie) as page:
            seen = (await heard(page))["seq"]
            web.process.kill()
            with pytest.raises(ConnectionClosed):
                await heard(page)
        await asyncio.to_thread(silently_end_step, run, 1)
        other = await asyncio.to_thread(Web(tmp_path / "other.log").wait_until_ready)
        try:
            async with look(other, topic, cookie, after=seen) as page:
                assert (await heard(page))["seq"] == await asyncio.to_thread(newest, run) > seen
        finally:
            other.stop()

    asyncio.run(play())


def test_valkey_may_hang_or_go_away_and_hints_are_heard_again_after(committed, valkey, begin, cookie, tmp_path):
    runs = [begin(STEPS) for _ in range(3)]
    web = Web(tmp_path / "web.log", REDIS_URL=valkey.url).wait_until_ready()

    def listeners():
        with redis.from_url(valkey.url) as client:
            return dict(client.pubsub_numsub(CHANGED))[CHANGED.encode()]

    async def play():
        async with look(web, f"run:{runs[0].public_id}", cookie) as page:
            await heard(page)
            await asyncio.to_thread(until, listeners)
            valkey.process.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(silently_end_step, runs[0], 1)
            await heard_until(page, await asyncio.to_thread(newest, runs[0]))
            async with look(web, f"run:{runs[1].public_id}", cookie) as late:  # one may begin to look, too
                assert (await heard(late))["seq"] == 1
            valkey.process.send_signal(signal.SIGCONT)
            await asyncio.to_thread(until, listeners)
            valkey.process.kill()
            valkey.process.wait(10)
            await asyncio.to_thread(silently_end_step, runs[0], 2)
            await heard_until(page, await asyncio.to_thread(newest, runs[0]))
            valkey.start()
            await asyncio.to_thread(wait_until_ready, [valkey])
            await asyncio.to_thread(until, listeners)

    try:
        asyncio.run(play())
    finally:
        web.stop()


@pytest.fixture
def valkey():
    data = Path(tempfile.mkdtemp(prefix="countersign-live-", dir="/tmp"))
    data.chmod(0o711 if os.geteuid() == 0 else 0o700)
    _, valkey = services_of(data, data)
    valkey.start()
    wait_until_ready([valkey])
    yield valkey
    valkey.process.send_signal(signal.SIGCONT)
    valkey.process.kill()
    valkey.process.wait(10)
    shutil.rmtree(socket_folder(data, Account.choose()), ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)


def test_200_pages_cost_the_database_no_connection_each(web, begin, cookie):
    runs = [begin(STEPS) for _ in range(4)]
    topics = [f"run:{run.public_id}" for run in runs] + ["organization"]

    async def play():
        pages = []
        try:
            for number in range(200):
                pages.append(await look(web, topics[number % 5], cookie))
                await heard(pages[-1])
            held = await asyncio.to_thread(connections_of_web)
            with web.client() as asked:
                metrics = (await asyncio.to_thread(asked.get, "/metrics")).text
            for run in runs:
                await asyncio.to_thread(end_step, run, 1)
            newest_of = {f"run:{run.public_id}": await asyncio.to_thread(newest, run) for run in runs}
            for number, page in enumerate(pages):
                topic = topics[number % 5]
                await (heard(page) if topic == "organization" else heard_until(page, newest_of[topic]))
        finally:
            await asyncio.gather(*(page.close() for page in pages))
        return held, metrics

    held, metrics = asyncio.run(play())
    assert held <= 9  # the pool's eight, and the watch's
    assert "countersign_pages 200.0" in metrics
    with web.client() as asked:
        until(lambda: "countersign_pages 0.0" in asked.get("/metrics").text)


def connections_of_web():
    held = value("select count(*) from pg_stat_activity where application_name = 'web-under-test'")
    connections.close_all()
    return held
