from typing import Any, Self

from django.db import models
from django.db.models.functions import Now

from accounts.models import Member, Organization
from orchestration.models.definitions import DefinitionVersion
from orchestration.models.runs import Run, Step


class Payload(models.Model):
    """A value of more than a few KB, by the SHA-256 of its JSON; `used_at` tells the collection what is in use."""

    digest = models.BinaryField(primary_key=True)
    body = models.JSONField()
    size = models.IntegerField()
    used_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.digest.hex()


class CacheEntryQuerySet(models.QuerySet["CacheEntry"]):
    def kept(self, organization: Organization) -> Self:
        """Those that there is an answer for, and whose time is not over."""
        return self.filter(organization_id=organization.pk, fence=None, expires_at__gt=Now())

    def by_agent(self) -> models.QuerySet["CacheEntry", dict[str, Any]]:
        found = self.values("agent").annotate(answers=models.Count("digest"), newest_at=models.Max("made_at"))
        return found.annotate(until=models.Max("expires_at")).order_by("agent")


class CacheEntry(models.Model):
    """A step's output, kept for steps that would ask the same again; with a `fence`, the one that is getting it."""

    pk = models.CompositePrimaryKey("organization_id", "digest")
    organization_id = models.BigIntegerField()
    digest = models.BinaryField()
    agent = models.CharField(max_length=100, db_default="")  # its slug
    output = models.JSONField(null=True)
    output_digest = models.BinaryField(null=True)
    run_id = models.BigIntegerField()  # where it was made, or is
    key = models.IntegerField()
    fence = models.BigIntegerField(null=True)
    promised = models.BooleanField(db_default=False)  # that step waits, and its turn is next
    made_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    objects = CacheEntryQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=("expires_at",), name="cache_entry_expires"),
            models.Index(
                fields=("organization_id", "digest"),
                name="cache_entry_flight",
                condition=models.Q(fence__isnull=False),
            ),
            models.Index(
                fields=("output_digest",), name="cache_entry_output", condition=models.Q(output_digest__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return self.digest.hex()


class CachePlace(models.Model):
    """A step that waits for an answer that another asks for."""

    organization_id = models.BigIntegerField()
    digest = models.BinaryField()
    run_id = models.BigIntegerField()
    key = models.IntegerField()
    fence = models.BigIntegerField()
    priority = models.SmallIntegerField(db_default=0)
    woken_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            models.Index(fields=("run_id", "key"), name="cache_place_of_step"),
            models.Index(fields=("organization_id", "digest", "-priority", "id"), name="cache_place_next"),
            models.Index(fields=("woken_at",), name="cache_place_woken", condition=models.Q(woken_at__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.run_id}/{self.key} waits for {self.digest.hex()}"


class DeliverableQuerySet(models.QuerySet["Deliverable"]):
    def visible_to(self, member: Member) -> Self:
        """Without those of runs that do not show this member what is in them."""
        hidden = DefinitionVersion.objects.hidden_from(member).values("pk")
        own = self.filter(run__organization_id=member.organization_id)
        return own.exclude(run__definition_version__in=hidden)

    def for_list(self) -> Self:
        name = Step.objects.filter(run=models.OuterRef("run"), key=models.OuterRef("key")).values("name")
        return self.select_related("run").annotate(step=models.Subquery(name)).order_by("-id")

    def for_page(self) -> Self:
        """With `step`, `round` and `is_simulated`, of the step that made it, and the run's definition. What is large
        and not shown in a list is read later, when asked for."""
        step = Step.objects.filter(run=models.OuterRef("run"), key=models.OuterRef("key"))
        version = "run__definition_version__"
        return (
            self.for_list()
            .select_related(f"{version}definition")
            .annotate(
                round=models.Subquery(step.values("round")),
                is_simulated=models.Subquery(step.values("usage__simulated")),
            )
            .defer("content", "run__input", "run__output", f"{version}plan", f"{version}layout", f"{version}text")
        )


class Deliverable(models.Model):
    """A named result that people read. A step's next round makes the next version of it."""

    public_id = models.CharField(max_length=40, unique=True)
    run = models.ForeignKey(Run, models.DO_NOTHING, related_name="deliverables", db_constraint=False)
    key = models.IntegerField()  # the step's row
    name = models.CharField(max_length=100)
    version = models.IntegerField()
    title = models.TextField()
    content = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    step: str  # these three by for_list and for_page only
    round: int | None
    is_simulated: bool | None

    objects = DeliverableQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["run", "name", "version"], name="deliverable_version_once"),)

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"
