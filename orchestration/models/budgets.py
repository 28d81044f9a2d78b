from django.db import models


class Budget(models.Model):
    """What a run and all below it may spend, and have spent. A run that declares none has no such row."""

    run_id = models.BigIntegerField(primary_key=True)
    usd = models.DecimalField(max_digits=20, decimal_places=8, null=True)
    tokens = models.BigIntegerField(null=True)
    runs = models.IntegerField(null=True)
    soft = models.FloatField(null=True)  # the share that warns
    policy = models.CharField(max_length=50)  # who may raise it
    spent_usd = models.DecimalField(max_digits=20, decimal_places=8, db_default=0)
    spent_tokens = models.BigIntegerField(db_default=0)
    spent_runs = models.IntegerField(db_default=0)
    warned_at = models.DateTimeField(null=True)
    exceeded_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            models.Index(
                fields=("exceeded_at",),
                name="budget_unasked",
                condition=models.Q(exceeded_at__isnull=False, asked_at=None),
            ),
        )

    def __str__(self) -> str:
        return f"budget of {self.run_id}"


class Tree(models.Model):
    """How many runs were started below a run that nobody's step started. It is locked in the place of that run."""

    root_run_id = models.BigIntegerField(primary_key=True)
    runs = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.runs} below {self.root_run_id}"
