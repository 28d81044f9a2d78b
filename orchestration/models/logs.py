from typing import Self

from django.db import models
from django.db.models.functions import Length, Substr

from agents.calls import LEVELS
from orchestration.models.runs import Run, Step

SHOWN_SIGNS = 4_000  # of a long line, until the reader asks for the rest
# What a reader sees of a text: colours are no letters.
PLAIN = "regexp_replace(text, E'\\\\x1b\\\\[[0-9;?]*[A-Za-z]', '', 'g')"


class LogLineQuerySet(models.QuerySet["LogLine"]):
    def of(self, run: Run, *, step: str = "", level: str = "") -> Self:
        """The run's lines; of one step, in all its rounds; of a level, and of those that are worse."""
        rows = self.filter(run_id=run.pk)
        if step:
            keys = Step.objects.filter(run=run, name=step).values_list("key", flat=True)
            rows = rows.filter(key__in=list(keys))
        if level == LEVELS[-1]:
            rows = rows.filter(level=level)  # which has an index
        elif level:
            rows = rows.filter(level__in=LEVELS[LEVELS.index(level) :])
        return rows

    def saying(self, words: str) -> Self:
        """In any case, colours aside."""
        plain = models.Func(models.F("text"), template=PLAIN, output_field=models.TextField())
        return self.alias(plain=plain).filter(plain__icontains=words)

    def shortened(self) -> Self:
        """With `shown`, the beginning of a long text, and `length` instead of `text`."""
        return self.defer("text").annotate(shown=Substr("text", 1, SHOWN_SIGNS), length=Length("text"))


class LogLine(models.Model):
    """One line of a run's log, numbered 1..n in the run without a gap; `engine_log` writes them."""

    pk = models.CompositePrimaryKey("run_id", "number")
    run_id = models.BigIntegerField()
    number = models.IntegerField()
    at = models.DateTimeField()
    key = models.IntegerField()  # the step's row
    attempt = models.IntegerField()
    level = models.CharField(max_length=7, choices=[(level, level) for level in LEVELS])
    text = models.TextField()

    objects = LogLineQuerySet.as_manager()

    class Meta:
        managed = False  # partitioned like the events
        db_table = "orchestration_logline"

    def __str__(self) -> str:
        return f"{self.run_id}#{self.number}"


class LogHead(models.Model):
    """How many lines a run has, and how many of them are errors. A run that said nothing has no such row."""

    run_id = models.BigIntegerField(primary_key=True)
    number = models.IntegerField()
    errors = models.IntegerField()

    class Meta:
        managed = False
        db_table = "orchestration_loghead"

    def __str__(self) -> str:
        return f"{self.run_id}: {self.number}"

    @classmethod
    def of(cls, run: Run) -> "LogHead":
        return cls.objects.filter(pk=run.pk).first() or cls(run_id=run.pk, number=0, errors=0)
