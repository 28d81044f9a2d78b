"""Hints leave from a thread of their own: a broker that hangs holds up nobody, and what it loses a sweep finds."""

import atexit
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import redis
import structlog
from django.conf import settings
from django.db import transaction

log = structlog.get_logger(__name__)
CHANGED = "countersign:changed"  # channel: JSON list of run ids with new events
LOGGED = "countersign:logged"  # and of those with new lines in their logs
PAUSE_SECONDS = 0.01  # gathers what comes together into one message
CHANGES_PAUSE_SECONDS = 0.02  # and this long besides where only changes are to be told
MOST_WAITING, KEPT_SECONDS = 64, 60  # hints that no worker takes do not pile up
STEPS_EACH, MOST_WOKEN = 16, 8  # one worker is woken for so many ready steps; and at most so many at once


def work_key(queue: str) -> str:
    """Of the list whose entries each wake one worker of the queue."""
    return f"countersign:work:{queue}"


def takes_nothing(queue: str, steps: int) -> bool:
    return False


class Hints:
    """What is to be said, coalesced; the thread starts with the first word, once in each process.

    `takes`: whether the engine of this process takes so many steps of a queue itself, and nobody else need be told.
    """

    ANSWERS = "default"  # the queue in which answers are hinted: whoever gets the message sweeps

    def __init__(self) -> None:
        self.takes: Callable[[str, int], bool] = takes_nothing
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # the parent's thread is not there

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._urgent = threading.Event()
        self._work = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._queues: dict[str, int] = {}
        self._runs: set[int] = set()
        self._logs: set[int] = set()
        self._thread: threading.Thread | None = None

    def work(self, queue: str, steps: int = 1) -> None:
        """So many steps became ready in this queue."""
        with self._lock:
            self._queues[queue] = self._queues.get(queue, 0) + steps
            self._work.set()
            self._wake()

    def answer(self) -> None:
        """A step may go on that waited for a person, or for something outside: said at once, and not gathered."""
        with self._lock:
            self._queues[self.ANSWERS] = self._queues.get(self.ANSWERS, 0) + 1
            self._urgent.set()
            self._work.set()
            self._wake()

    def changed(self, runs: Iterable[int]) -> None:
        """These runs have new events."""
        with self._lock:
            self._runs.update(runs)
            self._wake()

    def logged(self, runs: Iterable[int]) -> None:
        """These runs have new lines in their logs."""
        with self._lock:
            self._logs.update(runs)
            self._wake()

    def drain(self, seconds: float) -> None:
        """Wait until all is said, at most so long."""
        self._idle.wait(seconds)

    def _wake(self) -> None:
        """After the word is there, under the lock: the thread forgets first that it was woken, then it looks."""
        self._idle.clear()
        self._some.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
            self._thread.start()
            atexit.register(partial(self.drain, 1.0))

    def _run(self) -> None:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1)
        while True:
            with self._lock:
                if not self._queues and not self._runs and not self._logs:
                    self._idle.set()
            self._some.wait()
            self._some.clear()
            with self._lock:
                self._urgent.clear()
                self._work.clear()
                queues, self._queues = self._queues, {}
                runs, self._runs = self._runs, set()
                logs, self._logs = self._logs, set()
            try:
                for queue, steps in sorted(queues.items()):
                    with client.pipeline() as pipeline:
                        pipeline.rpush(work_key(queue), *["1"] * min(MOST_WOKEN, -(-steps // STEPS_EACH)))
                        pipeline.ltrim(work_key(queue), -MOST_WAITING, -1)
                        pipeline.expire(work_key(queue), KEPT_SECONDS)
                        pipeline.execute()
                if runs:
                    client.publish(CHANGED, json.dumps(sorted(runs)))
                if logs:
                    client.publish(LOGGED, json.dumps(sorted(logs)))
            except (redis.RedisError, OSError) as exc:
                log.warning("hint_lost", error=str(exc), queues=sorted(queues), runs=len(runs))
            self._urgent.wait(PAUSE_SECONDS)
            self._work.wait(CHANGES_PAUSE_SECONDS)


hints = Hints()


def hint_after_commit(queues: Mapping[str, int], runs: Iterable[int]) -> None:
    """Say it when the transaction at hand has committed. `queues`: how many steps became ready in which."""

    def say() -> None:
        hints.changed(runs)
        for queue, steps in queues.items():
            if not hints.takes(queue, steps):
                hints.work(queue, steps)

    transaction.on_commit(say, robust=True)
