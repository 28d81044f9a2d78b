"""`/ws/live?topic=…&after=SEQ`: tells a page that there is news. docs/live.md has the frames and what is guaranteed.

A socket is opened first and refused then, with a code and a reason: before that a browser would hear neither.
"""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs

import structlog
from channels.db import database_sync_to_async
from django.db import DatabaseError

from accounts.authentication import member_of
from accounts.exceptions import NotAMember
from accounts.visits import Visit
from orchestration.feeds.news import Over, Topic, watch_here
from orchestration.models import Run

log = structlog.get_logger(__name__)
PATH = "/ws/live"
HEARTBEAT_SECONDS = 15.0
GAP_SECONDS = 0.2  # between two frames of a page
SIGNED_OUT, COME_AGAIN, NOT_A_MEMBER, NO_SUCH_TOPIC, TRY_LATER = 4401, 4402, 4403, 4404, 1013


class Refused(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


async def live(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] != PATH:
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    words = parse_qs(scope["query_string"].decode("latin-1"))
    name, made_for = words.get("topic", [""])[0], words.get("member", [""])[0]
    try:
        topic, visit = await database_sync_to_async(admitted)(name, made_for, scope["user"], scope["session"])
    except Refused as exc:
        await send({"type": "websocket.close", "code": exc.code, "reason": str(exc)})
        return
    except DatabaseError as exc:
        log.warning("page_not_admitted", error=str(exc))
        await send({"type": "websocket.close", "code": TRY_LATER, "reason": "Try again later."})
        return
    telling = asyncio.create_task(tell(topic, name, visit, send))
    gone = asyncio.create_task(until_gone(receive))
    try:
        await asyncio.wait({telling, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        telling.cancel()
        gone.cancel()
        await asyncio.gather(telling, gone, return_exceptions=True)


def admitted(name: str, made_for: str, user: Any, session: Any) -> tuple[Topic, Visit]:
    """What a page may listen to, and as whom. Raises Refused, also to a page that was made for another member."""
    if not user.is_authenticated:
        raise Refused(SIGNED_OUT, "Sign in again.")
    try:
        member = member_of(cast(Any, SimpleNamespace(user=user, session=session)))
    except NotAMember as exc:
        raise Refused(NOT_A_MEMBER, "You are no active member of an organization.") from exc
    if made_for and made_for != str(member.pk):
        raise Refused(NOT_A_MEMBER, "This page was opened in another organization, or by somebody else.")
    visit = Visit(session.session_key, member.pk)
    kind, _, public_id = name.partition(":")
    if name == "organization":
        return Topic("organization", member.organization_id), visit
    run = Run.objects.visible_to(member).filter(public_id=public_id).values_list("pk", flat=True).first()
    if kind not in ("run", "log") or run is None:
        raise Refused(NO_SUCH_TOPIC, "There is no such topic here.")
    return Topic(kind, run), visit


async def tell(topic: Topic, name: str, visit: Visit, send: Any) -> None:
    """Where the topic stands, when it moves, and now and then though it did not: a page that hears nothing knows then
    that its socket is dead. Until the visit is over; whether there is a new one is asked at the door."""
    async with watch_here().watching(topic, visit) as page:
        while True:
            try:
                number = await page.number(HEARTBEAT_SECONDS)
            except Over:
                await send({"type": "websocket.close", "code": COME_AGAIN, "reason": "Come in again."})
                return
            if number is not None:
                await send({"type": "websocket.send", "text": json.dumps({"topic": name, "seq": number})})
            await asyncio.sleep(GAP_SECONDS)


async def until_gone(receive: Any) -> None:
    """A page has nothing to say."""
    while (await receive())["type"] != "websocket.disconnect":
        pass
