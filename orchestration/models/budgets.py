from collections.abc import Collection
from typing import Any, Self

from django.db import models
from django.db.models import F
from django.db.models.functions import Cast, Greatest


def share_of(name: str) -> Any:
    return Cast(F(f"spent_{name}"), models.FloatField()) / Cast(F(name), models.FloatField())


class BudgetQuerySet(models.QuerySet["Budget"]):
    def used_up(self, runs: Collection[int]) -> Self:
        """Those of these runs."""
        return self.filter(pk__in=runs, share__gt=1)


class Budget(models.Model):
    """What a run and all below it may spend, and have spent. A run that declares none has no such row."""

    LIMITS = ("usd", "tokens", "runs")

    run_id = models.BigIntegerField(primary_key=True)
    usd = models.DecimalField(max_digits=20, decimal_places=8, null=True)
    tokens = models.BigIntegerField(null=True)
    runs = models.IntegerField(null=True)
    soft = models.FloatField(null=True)  # the share that warns
    policy = models.CharField(max_length=50)  # who may raise it
    spent_usd = models.DecimalField(max_digits=20, decimal_places=8, db_default=0)
    spent_tokens = models.BigIntegerField(db_default=0)
    spent_runs = models.IntegerField(db_default=0)
    # Of the limit that is nearest; over 1: used up.
    share = models.GeneratedField(
        expression=Greatest(*(share_of(name) for name in LIMITS)), output_field=models.FloatField(), db_persist=True
    )
    warned_at = models.DateTimeField(null=True)
    exceeded_at = models.DateTimeField(null=True)  # since when it holds its runs
    asked_at = models.DateTimeField(null=True)  # when the question was put that nobody has answered
    due = models.BooleanField(db_default=False)  # a sweep is to look at it

    objects = BudgetQuerySet.as_manager()

    class Meta:
        indexes = (models.Index(fields=("run_id",), name="budget_due", condition=models.Q(due=True)),)

    def __str__(self) -> str:
        return f"budget of {self.run_id}"

    @property
    def is_used_up(self) -> bool:
        return bool(self.share > 1)

    @property
    def limits(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.LIMITS if getattr(self, name) is not None}

    @property
    def spent(self) -> dict[str, Any]:
        """Of what is limited."""
        return {name: getattr(self, f"spent_{name}") for name in self.limits}

    @property
    def words(self) -> str:
        """Such as: $1.20 of $5.00, 3 of 50 runs."""
        spent = self.spent
        return ", ".join(
            f"${spent[name]:,.2f} of ${limit:,.2f}" if name == "usd" else f"{spent[name]:,} of {limit:,} {name}"
            for name, limit in self.limits.items()
        )


class Tree(models.Model):
    """How many runs were started below a run that nobody's step started. It is locked in the place of that run."""

    root_run_id = models.BigIntegerField(primary_key=True)
    runs = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.runs} below {self.root_run_id}"
