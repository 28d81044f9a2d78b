"""Server-sent events of a run: admitted or refused as any other request, then written by the event loop.

A stream holds no connection to the database. asgiref keeps the request's thread, idle, until the stream ends: 1,000
streams in one process cost 110 MB and no processor while nothing happens.
"""

import json
from collections.abc import AsyncIterator
from functools import update_wrapper
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from rest_framework.utils.encoders import JSONEncoder

from orchestration.api.runs import EventsView
from orchestration.feeds.readers import reader_here

HEARTBEAT_SECONDS = 15.0
RETRY = b"retry: 2000\n\n"

admit = EventsView.as_view()


def admitted(request: HttpRequest, public_id: str) -> Any:
    """The API's own answer. The connection that it took goes back before the first byte of a stream."""
    response = admit(request, public_id=public_id)
    if getattr(response, "listens_to", None):
        close_old_connections()
    return response


async def events(request: HttpRequest, public_id: str) -> HttpResponseBase:
    response = await sync_to_async(admitted)(request, public_id)
    place = getattr(response, "listens_to", None)
    if place is None:
        answer: HttpResponseBase = response
        return answer
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(stream(*place), content_type="text/event-stream", headers=headers)


# The schema's generator and the middleware look at these: the class behind the door, and that tokens need no CSRF.
update_wrapper(events, admit, assigned=())


async def stream(run: int, after: int) -> AsyncIterator[bytes]:
    """The events after `after` as they come, until the run has ended and all are sent."""
    reader = reader_here()
    async with reader.listening(run, after) as listener:
        yield RETRY
        while True:
            taken = await reader.take(listener, HEARTBEAT_SECONDS)
            for event in taken:
                yield message(event)
            if listener.is_finished and not listener.waiting:
                return
            if not taken:
                yield b": still here\n\n"


def message(event: dict[str, Any]) -> bytes:
    body = json.dumps(event, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event['seq']}\nevent: {event['type']}\ndata: {body}\n\n".encode()
