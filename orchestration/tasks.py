import gc
import os

import structlog
from celery import shared_task
from celery.signals import worker_init, worker_shutting_down

from orchestration.engine import process

log = structlog.get_logger(__name__)


@shared_task(name="orchestration.work")
def work(queue: str) -> None:
    """The beat's hint, and what a release before sends: there may be work in `queue`. Nothing relies on it."""
    process.look(queue)


@worker_init.connect
def start_engine(**_: object) -> None:
    """Before Celery reaches its broker: without one, workers find their work by sweeping."""
    gc.collect()
    gc.freeze()  # what is imported stays: no pause of 88 ms, now and then, to look through it
    try:
        process.start_process()
    except Exception:  # Celery would log it and go on with a worker that never works
        log.exception("engine_not_started")
        os._exit(os.EX_UNAVAILABLE)


@worker_shutting_down.connect
def stop_engine(**_: object) -> None:
    process.stop_process()
