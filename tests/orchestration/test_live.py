"""What keeps pages live: sockets of a real web process that say that there is news."""

import asyncio
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from urllib.parse import urlencode

import pytest
import redis
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from accounts.models import Member, User
from approvals.models import Policy, Request
from config.up.processes import Account
from config.up.services import services_of, socket_folder, wait_until_ready
from orchestration.engine import answers
from orchestration.engine.connection import rows, value
from orchestration.engine.hints import CHANGED
from tests.factories import MemberFactory, ask
from tests.harness import Web, until

STEPS = "".join(f"  s{n}: {{agent: echo, with: {{value: {n}}}}}\n" for n in range(5))


@pytest.fixture
def web(committed, tmp_path):
    web = Web(tmp_path / "web.log").wait_until_ready()
    yield web
    web.stop()
    connections.close_all()


@pytest.fixture
def cookie(members):
    return signed_in(members.viewer)


def signed_in(member):
    client = Client()
    client.force_login(member.user)
    return f"sessionid={client.cookies['sessionid'].value}"


def look(web, topic, cookie="", *, after=0, origin="http://localhost", member=""):
    uri = f"ws://localhost/ws/live?{urlencode({'topic': topic, 'member': member, 'after': after})}"
    return unix_connect(web.socket, uri, origin=origin, additional_headers={"Cookie": cookie}, open_timeout=30)


async def heard(page, seconds=30):
    return json.loads(await asyncio.wait_for(page.recv(), seconds))


async def heard_until(page, seq):
    while (frame := await heard(page))["seq"] != seq:
        assert frame["seq"] < seq
    return frame


def end_step(run, key):
    rows(
        "update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s and key = %s",
        [run.pk, key],
    )
    answers.settle((run.pk, key, 1), "running", answers.Outcome("completed", output={"value": key}))
    connections.close_all()


def silently_end_step(run, key):
    """As when Valkey loses the hint."""
    rows(
        "update orchestration_step set status = 'running', owner = 1, fence = 1 where run_id = %s and key = %s",
        [run.pk, key],
    )
    item = answers.encode((run.pk, key, 1), "running", answers.Outcome("completed"))
    rows(answers.FLUSH, [run.pk, f'[{{"n":1,{item.text}}}]'])
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


def test_who_may_not_look_is_told_so_by_code_and_words(web, begin, cookie):
    run = begin(STEPS)
    topic = f"run:{run.public_id}"
    stranger = signed_in(MemberFactory(roles=["admin"]))
    no_member = signed_in(MemberFactory(is_active=False))

    async def refusal(topic, cookie):
        async with look(web, topic, cookie) as page:
            with pytest.raises(ConnectionClosed) as refused:
                await heard(page)
            return refused.value.rcvd.code, bool(refused.value.rcvd.reason)

    async def play():
        return [
            await refusal(topic, ""),
            await refusal(topic, "sessionid=nonsense"),
            await refusal(topic, no_member),
            await refusal(topic, stranger),
            await refusal("run:run_nonsense", cookie),
            await refusal("nonsense", cookie),
            await refusal("", cookie),
        ]

    codes = [4401, 4401, 4403, 4404, 4404, 4404, 4404]
    assert asyncio.run(play()) == [(code, True) for code in codes]


def sign_out(member):
    Session.objects.all().delete()


def deactivate(member):
    Member.objects.filter(pk=member.pk).update(is_active=False)


def remove(member):
    Member.objects.filter(pk=member.pk).delete()


def lock_out(member):
    User.objects.filter(pk=member.user_id).update(is_active=False)


def change_password(member):
    member.user.set_password("another one")
    member.user.save()


@pytest.mark.parametrize(
    ("end", "code"),
    [(sign_out, 4401), (lock_out, 4401), (change_password, 4401), (deactivate, 4403), (remove, 4403)],
)
def test_an_open_socket_ends_with_the_session_or_the_membership(web, members, end, code):
    cookie = signed_in(members.viewer)

    async def play():
        async with look(web, "organization", cookie) as page:
            await heard(page)
            await asyncio.to_thread(finally_closed, end, members.viewer)
            closed = await ended(page)
        async with look(web, "organization", cookie) as page:
            return closed, await ended(page)

    assert asyncio.run(play()) == (4402, code)


def test_others_stay_when_one_leaves(web, members):
    leaving, staying = signed_in(members.viewer), signed_in(members.operator)

    async def play():
        async with look(web, "organization", leaving) as page, look(web, "organization", staying) as other:
            await asyncio.gather(heard(page), heard(other))
            await asyncio.to_thread(finally_closed, deactivate, members.viewer)
            assert await ended(page) == 4402
            await (await other.ping())

    asyncio.run(play())


def finally_closed(does, *given):
    try:
        does(*given)
    finally:
        connections.close_all()


async def ended(page):
    """The code by which it was closed, whatever it still heard."""
    try:
        while True:
            await heard(page)
    except ConnectionClosed as closed:
        return closed.rcvd.code


def test_a_page_made_for_another_member_is_turned_away(web, members, cookie):
    async def play():
        async with look(web, "organization", cookie, member=members.viewer.pk) as page:
            await heard(page)
        async with look(web, "organization", cookie, member=members.admin.pk) as page:
            return await ended(page)

    assert asyncio.run(play()) == 4403


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


def test_another_sites_page_gets_no_socket(web, cookie):
    async def play():
        with pytest.raises(InvalidStatus) as refused:
            async with look(web, "organization", cookie, origin="http://evil.example"):
                pass
        return refused.value.response.status_code

    assert asyncio.run(play()) == 403


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
