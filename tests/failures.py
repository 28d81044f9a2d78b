"""What a process of the tests does when it comes to a point of `orchestration.engine.failpoints`."""

import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from orchestration.engine.failpoints import POINTS

SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}


@dataclass
class Plan:
    """`deed` at the n-th time: kill, freeze, or hold this thread until the file `mark` is gone, which says that the
    point is reached."""

    point: str
    deed: str
    nth: int
    mark: str


plan: Plan | None = None
_lock = threading.Lock()
_passed = 0


def reach(point: str) -> None:
    global _passed
    assert point in POINTS, point
    if plan is None or plan.point != point:
        return
    with _lock:
        _passed += 1
        is_now = _passed == plan.nth
    if is_now:
        Path(plan.mark).touch()
        if plan.deed in SIGNALS:  # to this thread: one to the process lets it go on until another thread stops them all
            signal.pthread_kill(threading.get_ident(), SIGNALS[plan.deed])
        while plan.deed == "hold" and Path(plan.mark).exists():
            time.sleep(0.005)
