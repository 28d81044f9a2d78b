from django.db import models
from django.db.models.functions import Now


class Worker(models.Model):
    """One life of a worker process, with its lease. Once `dead_at` is set it is over: the process takes a new row."""

    host = models.CharField(max_length=200)
    pid = models.IntegerField()
    started_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField()
    dead_at = models.DateTimeField(null=True)
    cleared_at = models.DateTimeField(null=True)  # dead, and nothing runs under it any more
    fit_from = models.DateTimeField(null=True)  # from then on it may declare others dead; null: never

    class Meta:
        indexes = (
            models.Index(fields=("lease_until",), name="worker_living", condition=models.Q(dead_at=None)),
            models.Index(
                fields=("id",), name="worker_to_clear", condition=models.Q(dead_at__isnull=False, cleared_at=None)
            ),
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.pid} ({self.pk})"


class FairShare(models.Model):
    """The rank last given to a key in a queue (start-time fair queuing)."""

    pk = models.CompositePrimaryKey("queue", "fair_key")
    queue = models.CharField(max_length=40)
    fair_key = models.TextField()
    rank = models.BigIntegerField()
    part = models.FloatField(db_default=0)  # of the next rank, which steps of a key with a weight share

    def __str__(self) -> str:
        return f"{self.queue}/{self.fair_key}"


class QueueFloor(models.Model):
    """The rank below which nothing of priority 0 is ready in a queue; a hint, which a sweep corrects."""

    queue = models.TextField(primary_key=True)
    floor = models.BigIntegerField()
    seen = models.BigIntegerField()  # the first that was ready a while ago: the next floor
    look_at = models.DateTimeField(db_default=Now())  # nobody looks below the floor before then

    def __str__(self) -> str:
        return f"{self.queue} from {self.floor}"
