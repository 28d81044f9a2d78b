"""Who may open a socket, and when it is closed."""

import asyncio

import pytest
from django.contrib.sessions.models import Session
from websockets.exceptions import ConnectionClosed, InvalidStatus

from accounts.models import Member, User
from tests.factories import MemberFactory
from tests.orchestration.live.looks import STEPS, finally_closed, heard, look, signed_in


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


def test_another_sites_page_gets_no_socket(web, cookie):
    async def play():
        with pytest.raises(InvalidStatus) as refused:
            async with look(web, "organization", cookie, origin="http://evil.example"):
                pass
        return refused.value.response.status_code

    assert asyncio.run(play()) == 403
