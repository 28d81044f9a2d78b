"""What workers and other web processes say over Valkey: which runs have news. Hints may be lost: listeners poll too."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import redis.asyncio
import structlog
from django.conf import settings

log = structlog.get_logger(__name__)
PAUSE_SECONDS = 1.0
PING_SECONDS = 5.0  # after so long without a hint, ask whether Valkey is still there


async def heard(*channels: str) -> AsyncIterator[tuple[str, list[int]]]:
    """A channel and ids of runs, hint by hint, for ever: after Valkey went away or hung, again from when it is back."""
    while True:
        try:
            async with (
                redis.asyncio.from_url(settings.REDIS_URL, socket_connect_timeout=PAUSE_SECONDS) as client,
                client.pubsub() as channel,
            ):
                await channel.subscribe(*channels)
                is_asked = False
                while True:
                    message = await channel.get_message(timeout=PING_SECONDS)
                    if message is None:
                        if is_asked:
                            raise TimeoutError("Valkey did not answer.")
                        await asyncio.wait_for(channel.ping(), PING_SECONDS)
                    is_asked = message is None
                    if message is not None and message["type"] == "message":
                        with contextlib.suppress(ValueError, TypeError):
                            runs = [int(run) for run in json.loads(message["data"])]
                            yield message["channel"].decode(), runs
        except (OSError, redis.RedisError) as exc:
            log.warning("hints_not_heard", error=str(exc))
            await asyncio.sleep(PAUSE_SECONDS)
