import os
import threading

import structlog
from django.db import connection

from orchestration.engine.connection import use_own_connection

log = structlog.get_logger(__name__)


class Vital(threading.Thread):
    """A thread without which the process must not go on: its lease would keep steps that nobody records. If it crashes
    the process exits, and whoever started that starts it again."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)

    def run(self) -> None:
        try:
            use_own_connection()
            self.work()
            connection.close()
        except Exception:
            log.exception("thread_crashed", thread=self.name)
            os._exit(os.EX_SOFTWARE)

    def work(self) -> None:
        raise NotImplementedError
