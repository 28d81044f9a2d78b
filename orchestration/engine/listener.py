import threading
from typing import TYPE_CHECKING

import redis
import structlog
from django.conf import settings

from orchestration.engine.hints import hints, work_key

if TYPE_CHECKING:
    from orchestration.engine.process import Process

log = structlog.get_logger(__name__)
WAIT_SECONDS = 5  # of one question to Valkey; longer than that without an answer, it hangs
PAUSE_SECONDS = 1.0


class Listener(threading.Thread):
    """Hears that there is work in the queues of this worker. Each hint reaches one worker; sweeps find what is lost."""

    def __init__(self, process: "Process") -> None:
        super().__init__(name="listener", daemon=True)
        self.process = process

    def run(self) -> None:
        keys = {work_key(queue): queue for queue in settings.WORKER_QUEUES}
        while not self.process.draining.is_set():
            try:
                with redis.Redis.from_url(
                    settings.REDIS_URL, socket_timeout=2 * WAIT_SECONDS, socket_connect_timeout=1, decode_responses=True
                ) as client:
                    self._listen(client, keys)
            except (redis.RedisError, OSError) as exc:
                log.warning("hints_not_heard", error=str(exc))
                self.process.draining.wait(PAUSE_SECONDS)
            except Exception:  # the top of the thread: the next question tries again
                log.exception("listener_crashed")
                self.process.draining.wait(PAUSE_SECONDS)

    def _listen(self, client: "redis.Redis", keys: dict[str, str]) -> None:
        while not self.process.draining.is_set():
            found = client.blpop(list(keys), timeout=WAIT_SECONDS)
            if found is None:
                continue
            queue = keys[str(found[0])]
            if self.process.draining.is_set():
                hints.work(queue)  # for one who stays
            else:
                self.process.look(queue)
