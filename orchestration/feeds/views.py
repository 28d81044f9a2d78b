"""Server-sent events of a run, and the values of its streams: admitted or refused as any other request, then written by
the event loop.

A stream holds no connection to the database. asgiref keeps the request's thread, idle, until the stream ends: 1,000
streams in one process cost 110 MB and no processor while nothing happens.
"""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import update_wrapper
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from rest_framework.utils.encoders import JSONEncoder

from orchestration.api.events import EventsView
from orchestration.api.streams import StreamView
from orchestration.feeds.readers import NUMBERED, readers_here
from orchestration.models import without_payload

HEARTBEAT_SECONDS = 15.0
RETRY = b"retry: 2000\n\n"

Door = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def door(admit: Any) -> Door:
    """The API's own answer, or a stream if that is what it lets in."""

    def admitted(request: HttpRequest, given: dict[str, str]) -> Any:
        """The connection that it took goes back before the first byte of a stream."""
        response = admit(request, **given)
        if getattr(response, "listens_to", None):
            close_old_connections()
        return response

    async def enter(request: HttpRequest, **given: str) -> HttpResponseBase:
        response = await sync_to_async(admitted)(request, given)
        place = getattr(response, "listens_to", None)
        if place is None:
            answer: HttpResponseBase = response
            return answer
        headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        return StreamingHttpResponse(stream(**place), content_type="text/event-stream", headers=headers)

    # The schema's generator and the middleware look at these: the class behind the door, and that tokens need no CSRF.
    update_wrapper(enter, admit, assigned=())
    return enter


events = door(EventsView.as_view())
values = door(StreamView.as_view())


async def stream(run: int, after: int, name: str = "", sees_payload: bool = True) -> AsyncIterator[bytes]:
    """The events after `after`, or the values of that name, as they come, until the run has ended and all are sent."""
    reader = readers_here().values if name else readers_here().events
    async with reader.listening(run, after, name) as listener:
        yield RETRY
        while True:
            taken = await reader.take(listener, HEARTBEAT_SECONDS)
            for event in taken:
                yield message(event if sees_payload else without_payload(event), NUMBERED[bool(name)])
            if listener.is_finished and not listener.waiting:
                return
            if not taken:
                yield b": still here\n\n"


def message(event: dict[str, Any], number: str) -> bytes:
    body = json.dumps(event, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event[number]}\nevent: {event.get('type', 'value')}\ndata: {body}\n\n".encode()
