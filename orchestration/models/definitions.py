import hashlib
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models.fields.json import KT

from accounts import audit
from accounts.clock import ClockTimestamp
from accounts.json_values import canonical
from accounts.models import Member, Organization, Role
from orchestration.exceptions import InvalidInput, NewerVersion, Refused
from orchestration.language import Compiled
from orchestration.models.layouts import layout
from orchestration.models.schedules import follow
from orchestration.shipped import example_slugs

TRIAL_PREFIX = "try--"  # the language allows no such name, so that nobody's definition can have it


def share_of(run: str) -> int:
    """0 to 99, always the same for a run's public id."""
    return int.from_bytes(hashlib.sha256(run.encode()).digest()[:8]) % 100


class DefinitionQuerySet(models.QuerySet["Definition"]):
    def visible_to(self, member: Member) -> Self:
        return self.filter(organization=member.organization)

    def for_list(self) -> Self:
        rows = self.select_related("current_version", "rollout_version").order_by("slug")
        return rows.defer(*(f"rollout_version__{name}" for name in ("text", "plan", "layout")))

    def for_page(self) -> Self:
        """With the current version and who saved it."""
        return self.for_list().select_related("current_version__created_by__user")

    def startable(self) -> Self:
        """Those that new runs may be started of."""
        return self.filter(current_version__isnull=False, archived_at=None)

    def own_first(self) -> Self:
        """The house's own by name, then the examples that are shipped."""
        return self.alias(is_example=models.Q(slug__in=example_slugs())).order_by("is_example", "slug")

    def of_the_house(self) -> Self:
        return self.exclude(slug__in=example_slugs())

    def examples(self) -> Self:
        """Those that are shipped, one for each thing that a definition may say."""
        return self.filter(slug__in=example_slugs())

    def choices(self, most: int) -> dict[str, list[str]]:
        """{own, examples}: the slugs to choose from, `most` of them."""
        slugs = list(self.own_first().values_list("slug", flat=True)[:most])
        shipped = set(example_slugs())
        return {
            "own": [slug for slug in slugs if slug not in shipped],
            "examples": [slug for slug in slugs if slug in shipped],
        }

    def written(self) -> Self:
        """Those that people wrote: not the ones that `orchestration.trials` makes."""
        return self.exclude(slug__startswith=TRIAL_PREFIX)


class Definition(models.Model):
    """A workflow's name; its current version, the newest, is what a new run begins with, or a share of them."""

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="definitions")
    slug = models.SlugField(max_length=100)
    description = models.TextField(blank=True)
    current_version = models.ForeignKey("DefinitionVersion", models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True)
    rollout_version = models.ForeignKey(
        "DefinitionVersion", models.PROTECT, null=True, related_name="+", db_constraint=False
    )
    rollout_percent = models.PositiveSmallIntegerField(
        null=True
    )  # of new runs begin with the newest, the others with that

    objects = DefinitionQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["organization", "slug"], name="definition_slug_once"),)

    def __str__(self) -> str:
        return self.slug

    @property
    def is_trial(self) -> bool:
        return self.slug.startswith(TRIAL_PREFIX)

    @transaction.atomic
    def archive(self, *, by: Member | None, reason: str) -> None:
        """In no list unless archived ones are asked for, it starts nothing, nor do its schedules. What runs goes on.

        Raises Refused.
        """
        if not Definition.objects.filter(pk=self.pk, archived_at=None).update(archived_at=ClockTimestamp()):
            raise Refused(f"{self.slug} is archived already.")
        self._record("definition.archive", by, {"reason": reason})

    @transaction.atomic
    def restore(self, *, by: Member | None, reason: str) -> None:
        """Raises Refused."""
        if not Definition.objects.filter(pk=self.pk, archived_at__isnull=False).update(archived_at=None):
            raise Refused(f"{self.slug} is not archived.")
        self._record("definition.restore", by, {"reason": reason})

    @transaction.atomic
    def roll_out(self, *, by: Member | None, reason: str, percent: int, rest: int | None = None) -> None:
        """`percent` of new runs begin with the newest version, whichever that is then, the others with the one of the
        number `rest`; 100: all begin with the newest. Raises InvalidInput."""
        row = Definition.objects.select_for_update(no_key=True).get(pk=self.pk)
        known = row.versions.exclude(pk=row.current_version_id or 0)
        older = None if percent == 100 else known.filter(number=rest or 0).first()
        if percent < 100 and older is None:
            raise InvalidInput([{"pointer": "/rest", "message": f"{self.slug} has no older version {rest}."}])
        row.rollout_version, row.rollout_percent = older, percent if older else None
        row.save(update_fields=["rollout_version", "rollout_percent"])
        self._record("definition.roll_out", by, {"reason": reason, "percent": percent, "rest": older and older.number})

    def version_for(self, run: str) -> int | None:
        """What the run of that public id begins with."""
        is_held = self.rollout_percent is not None and share_of(run) >= self.rollout_percent
        return self.rollout_version_id if is_held else self.current_version_id

    def _record(self, action: str, by: Member | None, data: dict[str, Any]) -> None:
        audit.record(organization=self.organization, actor=by, action=action, target=self.slug, data=data)

    @classmethod
    @transaction.atomic
    def save_version(
        cls, *, organization: Organization, text: str, compiled: Compiled, by: Member | None, seen: int | None = None
    ) -> "DefinitionVersion":
        """Keep a checked text as the newest version. The same text as the current one makes no new version.

        With `seen`, the number of the version that the writer knew (0 for none), raises NewerVersion if it is another.
        """
        plan = compiled.plan
        if plan is None:
            raise ValueError("only a plan without errors can be kept")
        definition = None
        while definition is None:  # it may be deleted between the two
            cls.objects.get_or_create(organization=organization, slug=plan["name"])
            rows = cls.objects.select_for_update(no_key=True)
            definition = rows.filter(organization=organization, slug=plan["name"]).first()
        current = definition.current_version
        number = current.number if current else 0
        if seen is not None and number != seen:
            raise NewerVersion(definition.slug, number)
        if current is not None and current.text == text and current.plan == plan:
            return current
        version = DefinitionVersion.objects.create(
            definition=definition,
            number=number + 1,
            text=text,
            plan=plan,
            layout=layout(plan),
            digest=hashlib.sha256(canonical(plan)).hexdigest(),
            visible_to=plan.get("visible_to"),
            created_by=by,
        )
        definition.current_version = version
        definition.description = plan.get("description") or ""
        definition.save(update_fields=["current_version", "description"])
        follow(definition, organization, plan.get("schedule", ()))
        definition._record("definition.save", by, {"number": version.number, "digest": version.digest})
        return version


class DefinitionVersionQuerySet(models.QuerySet["DefinitionVersion"]):
    def hidden_from(self, member: Member) -> Self:
        """Those that do not show this member what is in their runs; with `visible_to`, mostly none."""
        if member.has_role(Role.ADMIN):
            return self.none()
        own = self.filter(definition__organization_id=member.organization_id, visible_to__isnull=False)
        return own.exclude(visible_to__overlap=member.roles)


class DefinitionVersion(models.Model):
    """An immutable checked text with its compiled plan. `layout` is the rows a run of it starts with."""

    definition = models.ForeignKey(Definition, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    text = models.TextField()
    plan = models.JSONField()
    layout = models.JSONField()
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(Member, models.PROTECT, null=True, related_name="+")
    visible_to = ArrayField(models.CharField(max_length=20), null=True)  # roles; null: whoever sees the run

    objects = DefinitionVersionQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["definition", "number"], name="definition_number_once"),)
        indexes = (
            models.Index(
                fields=("definition",), name="version_visible_to", condition=models.Q(visible_to__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"{self.definition_id} v{self.number}"

    def attempts_of(self, position: int, *, undoing: bool = False) -> int:
        """How many tries the step at that place has by its `retry`, or what undoes it. Taken out by the database: a
        plan may be long."""
        retry = KT(f"plan__steps__{position - 1}__{'compensate__' if undoing else ''}retry__attempts")
        return int(DefinitionVersion.objects.filter(pk=self.pk).values_list(retry, flat=True).get() or 1)
