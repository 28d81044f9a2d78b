"""The cache holds hints only, such as how often someone tried to sign in: losing it may not lock anybody out."""

import logging
import time
from typing import Any, ClassVar

import redis
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 1.0
REST_SECONDS = 10.0  # one that hangs is not asked again at once: signing in asks a dozen times


class ForgivingRedisCache(RedisCache):
    """While Redis does not answer, each process counts for itself, in memory."""

    away_until: ClassVar[float] = 0.0  # of this process, by its monotonic clock

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        options = params.setdefault("OPTIONS", {})
        options.setdefault("socket_timeout", PATIENCE_SECONDS)
        options.setdefault("socket_connect_timeout", PATIENCE_SECONDS)
        super().__init__(server, params)
        self._here = LocMemCache("while-redis-is-away", {})

    def add(self, key: Any, *args: Any, **named: Any) -> Any:
        return self._ask("add", key, *args, **named)

    def get(self, key: Any, *args: Any, **named: Any) -> Any:
        return self._ask("get", key, *args, **named)

    def set(self, key: Any, *args: Any, **named: Any) -> Any:
        return self._ask("set", key, *args, **named)

    def delete(self, key: Any, *args: Any, **named: Any) -> Any:
        return self._ask("delete", key, *args, **named)

    def _ask(self, verb: str, key: Any, *args: Any, **named: Any) -> Any:
        if time.monotonic() >= self.away_until:
            try:
                return getattr(RedisCache, verb)(self, key, *args, **named)
            except redis.RedisError as exc:  # gone, hung, full, or a replica
                ForgivingRedisCache.away_until = time.monotonic() + REST_SECONDS
                log.warning("the cache does not serve: %s", exc)
        return getattr(self._here, verb)(key, *args, **named)
