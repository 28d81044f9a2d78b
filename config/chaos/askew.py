"""Runs a module while its time of day may be wrong: `python -m config.chaos.askew FILE MODULE ARGUMENTS…`.

By how many seconds, FILE says, which may change at any moment.
"""

import mmap
import runpy
import struct
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from django.utils import timezone

SECONDS = struct.Struct("d")


def set_askew(off: Callable[[], float]) -> None:
    """From here on this process's time of day is wrong by what `off` gives."""
    right = time.time
    time.time = lambda: right() + off()
    time.time_ns = lambda: int(time.time() * 1e9)
    timezone.now = lambda: datetime.fromtimestamp(time.time(), UTC)


def write(path: Path, seconds: float) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(SECONDS.pack(seconds))


def main() -> None:
    path, module, *sys.argv = sys.argv[1:2] + sys.argv[2:3] + sys.argv[2:]
    with open(path, "rb") as file:
        shared = mmap.mmap(file.fileno(), SECONDS.size, access=mmap.ACCESS_READ)
    set_askew(lambda: float(SECONDS.unpack_from(shared)[0]))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
