from django.db import models


class StreamValue(models.Model):
    """A value that a step handed out while it ran, numbered 1..n under a name of its run without a gap."""

    pk = models.CompositePrimaryKey("run_id", "name", "number")
    run_id = models.BigIntegerField()
    name = models.CharField(max_length=100)
    number = models.IntegerField()
    key = models.IntegerField()  # the step's row
    attempt = models.IntegerField()
    at = models.DateTimeField()
    value = models.JSONField()

    class Meta:
        managed = False  # partitioned like the log's lines
        db_table = "orchestration_streamvalue"

    def __str__(self) -> str:
        return f"{self.run_id} {self.name}#{self.number}"


class StreamHead(models.Model):
    """How many values there are under a name of a run."""

    pk = models.CompositePrimaryKey("run_id", "name")
    run_id = models.BigIntegerField()
    name = models.CharField(max_length=100)
    number = models.IntegerField()

    class Meta:
        managed = False
        db_table = "orchestration_streamhead"

    def __str__(self) -> str:
        return f"{self.run_id} {self.name}: {self.number}"
