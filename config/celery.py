import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("countersign")


def broker_url(redis_url: str) -> str:
    """Celery names a unix socket `redis+socket://`; redis-py and channels `unix://`, with the database in `?db=`."""
    if not redis_url.startswith("unix://"):
        return redis_url
    return redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")


@app.on_configure.connect
def configure(sender: Celery, **_: object) -> None:
    # Messages are hints: acknowledged when they arrive, never retried, gone after a minute, no results.
    app.conf.update(
        broker_url=broker_url(settings.REDIS_URL),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever: the engine works without a broker meanwhile
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 1},
        task_acks_late=False,
        task_ignore_result=True,
        task_default_queue="default",
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        timezone="UTC",
        beat_schedule={
            "sweep": {"task": "orchestration.work", "schedule": 10.0, "args": ["default"], "options": {"expires": 10}}
        },
    )


app.autodiscover_tasks()
