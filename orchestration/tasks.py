from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from orchestration.engine import process


@shared_task(name="orchestration.work")
def work(queue: str) -> None:
    """A hint that there is work in `queue`. Nothing relies on it: the sweep finds the same a little later."""
    process.look(queue)


@worker_ready.connect
def start_engine(**_: object) -> None:
    process.start_process()


@worker_shutting_down.connect
def stop_engine(**_: object) -> None:
    process.stop_process()
