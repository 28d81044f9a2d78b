import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785
from django.db import models, transaction

from accounts import audit
from accounts.clock import ClockTimestamp
from agents import specs
from agents.exceptions import InvalidSpec, NewerVersion
from agents.schemas import Finding


class AgentQuerySet(models.QuerySet["Agent"]):
    def visible_to(self, member):
        return self.filter(organization=member.organization_id)

    def with_current(self):
        return self.select_related("current_version", "organization")


class Agent(models.Model):
    """A named doer of steps; what it does is in its versions."""

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="agents")
    slug = models.SlugField(max_length=64)
    kind = models.CharField(max_length=32)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    current_version = models.ForeignKey(
        "agents.AgentVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    objects = AgentQuerySet.as_manager()

    class Meta:
        ordering = ("slug",)
        constraints = (models.UniqueConstraint(fields=("organization", "slug"), name="agent_slug_once"),)

    def __str__(self):
        return self.slug

    @classmethod
    @transaction.atomic
    def save_version(cls, *, organization, spec: Mapping[str, Any], by, seen: int | None = None) -> "AgentVersion":
        """Check `spec` and make it the agent's current version; `by` is a member, None for the seeding.

        The same content as the current version's returns that one. Raises InvalidSpec; a kind is for life. With
        `seen`, the number of the version that the writer knew (0 for none), raises NewerVersion if it is another now.
        """
        checked = specs.check(spec)
        cls.objects.get_or_create(
            organization=organization,
            slug=checked["name"],
            defaults={"kind": checked["kind"], "title": checked["title"], "description": checked["description"]},
        )
        agent = cls.objects.select_for_update(no_key=True).get(organization=organization, slug=checked["name"])
        if agent.kind != checked["kind"]:
            raise InvalidSpec([Finding("/kind", f"{agent.slug} is of kind {agent.kind}, which cannot change.")])
        if seen is not None and agent.newest_number() != seen:
            raise NewerVersion(agent.slug, agent.newest_number())
        agent.title, agent.description = checked["title"], checked["description"]
        version = agent._version_of(checked, by=by)
        made = agent.current_version_id != version.pk
        agent.current_version = version
        agent.save(update_fields=["title", "description", "current_version"])
        if made:
            audit.record(
                organization=organization,
                actor=by,
                action="agent.save_version",
                target=agent.slug,
                data={"number": version.number, "digest": version.digest},
            )
        return version

    def newest_number(self) -> int:
        """0 if it has no version yet."""
        return self.versions.aggregate(newest=models.Max("number"))["newest"] or 0

    def _version_of(self, checked: Mapping[str, Any], *, by) -> "AgentVersion":
        digest = digest_of(checked)
        newest = self.versions.order_by("number").last()
        if newest is not None and newest.digest == digest:
            return newest
        return self.versions.create(
            number=newest.number + 1 if newest else 1,
            configuration=checked["configuration"],
            input_schema=checked["input"],
            output_schema=checked["output"],
            repeatable=checked["repeatable"],
            digest=digest,
            created_by=by,
        )


class AgentVersion(models.Model):
    """What an agent does, never changed after it was made: a run keeps the versions it began with."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    configuration = models.JSONField(default=dict)
    input_schema = models.JSONField(null=True, blank=True)
    output_schema = models.JSONField(null=True, blank=True)
    repeatable = models.BooleanField(default=True)  # may a call that may have happened be made again?
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    created_by = models.ForeignKey("accounts.Member", on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ("agent", "-number")
        constraints = (models.UniqueConstraint(fields=("agent", "number"), name="agent_version_number_once"),)

    def __str__(self):
        return f"{self.agent_id}#{self.number}"

    @property
    def operations(self) -> dict[str, Any]:
        """By name, each with its `parameters` and `output` schema; empty unless this is a tool with operations."""
        return self.configuration.get("operations", {})


def digest_of(checked: Mapping[str, Any]) -> str:
    """SHA-256 of the RFC 8785 JSON of what decides how the agent acts; its title does not."""
    parts = {key: checked[key] for key in ("kind", "configuration", "input", "output", "repeatable")}
    return hashlib.sha256(rfc8785.dumps(parts)).hexdigest()
