"""Definitions from text: one, or a set of files whose references among each other count."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from accounts.models import Member, Organization
from agents.models import Agent
from approvals.models import Policy
from orchestration.exceptions import InvalidDefinition
from orchestration.language import AgentFacts, Compiled, compile_definition
from orchestration.models import Definition, DefinitionVersion


@dataclass(frozen=True, slots=True)
class Source:
    """`file` is what findings call it."""

    file: str
    text: str


def check(source: Source, *, organization: Organization) -> Compiled:
    """Compile against what the organization has: agents, policies, definitions."""
    agents = {
        agent.slug: AgentFacts(
            agent.kind,
            agent.current_version.input_schema,
            agent.current_version.output_schema,
            agent.current_version.operations,
        )
        for agent in Agent.objects.filter(organization=organization).with_current()
        if agent.current_version is not None
    }
    policies = set(Policy.objects.filter(organization=organization).values_list("slug", flat=True))
    definitions = set(Definition.objects.filter(organization=organization).values_list("slug", flat=True))
    return compile_definition(source.text, file=source.file, agents=agents, policies=policies, definitions=definitions)


@transaction.atomic
def apply(sources: Iterable[Source], *, organization: Organization, by: Member | None) -> list[DefinitionVersion]:
    """Save all of them, or none. Raises InvalidDefinition with every error of every file."""
    checked = [(source, check(source, organization=organization)) for source in sources]
    errors = [finding for _, compiled in checked for finding in compiled.findings if finding.severity == "error"]
    if errors:
        raise InvalidDefinition(errors)
    return [
        Definition.save_version(organization=organization, text=source.text, compiled=compiled, by=by)
        for source, compiled in checked
    ]


def replace(source: Source, *, seen: int, organization: Organization, by: Member | None) -> DefinitionVersion:
    """Save one text over the version that its writer saw, 0 for none. Raises NewerVersion, InvalidDefinition."""
    compiled = check(source, organization=organization)
    if compiled.plan is None:
        raise InvalidDefinition(compiled.findings)
    return Definition.save_version(organization=organization, text=source.text, compiled=compiled, by=by, seen=seen)
