"""Definitions from text: one, or a set of files whose references among each other count."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from accounts.models import Member, Organization
from agents.models import Agent
from approvals.models import Policy
from orchestration.exceptions import InvalidDefinition
from orchestration.language import AgentFacts, Compiled, Finding, compile_definition, read
from orchestration.models import Definition, DefinitionVersion


@dataclass(frozen=True, slots=True)
class Source:
    """`file` is what findings call it."""

    file: str
    text: str

    @classmethod
    def read(cls, path: Path) -> "Source":
        """Bytes that are no UTF-8 become a finding. Raises OSError."""
        return cls(str(path), path.read_bytes().decode("utf-8-sig", "surrogateescape"))


def check(source: Source, *, organization: Organization) -> Compiled:
    return check_set([source], organization=organization)[0]


def check_set(sources: Sequence[Source], *, organization: Organization) -> list[Compiled]:
    """Compile against what the organization has, agents, policies, definitions, and against each other."""
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
    checked = [
        compile_definition(source.text, file=source.file, agents=agents, policies=policies, definitions=definitions)
        for source in sources
    ]
    return without_twins(checked, sources)


def without_twins(checked: list[Compiled], sources: Sequence[Source]) -> list[Compiled]:
    """Two texts of a set cannot be the same definition: which of them would count?"""
    first: dict[str, str] = {}
    for number, (compiled, source) in enumerate(zip(checked, sources, strict=True)):
        if compiled.plan is None:
            continue
        name = compiled.plan["name"]
        if name in first:
            place = read(source.text, source.file)[0].at(["name"])
            what = (f"{first[name]} defines {name} too.", "Give one of them another name.")
            checked[number] = Compiled(None, [Finding(source.file, place.line, place.column, "twice", *what)])
        first.setdefault(name, source.file)
    return checked


@transaction.atomic
def apply(sources: Sequence[Source], *, organization: Organization, by: Member | None) -> list[DefinitionVersion]:
    """Save all of them, or none. Raises InvalidDefinition with every error of every file."""
    checked = check_set(sources, organization=organization)
    errors = [finding for compiled in checked for finding in compiled.findings if finding.severity == "error"]
    if errors:
        raise InvalidDefinition(errors)
    return [
        Definition.save_version(organization=organization, text=source.text, compiled=compiled, by=by)
        for source, compiled in zip(sources, checked, strict=True)
    ]


def of_organization(organization: Organization, names: Collection[str] = ()) -> list[Source]:
    """What people wrote: saved again, it makes no new version. `names`: these alone."""
    found = Definition.objects.filter(organization=organization, current_version__isnull=False).written().for_list()
    if names:
        found = found.filter(slug__in=names)
    texts = found.values_list("slug", "current_version__text")
    return [Source(file_of(slug, text), text) for slug, text in texts]


def file_of(slug: str, text: str) -> str:
    return f"{slug}.json" if text.lstrip().startswith("{") else f"{slug}.yaml"


def replace(source: Source, *, seen: int, organization: Organization, by: Member | None) -> DefinitionVersion:
    """Save one text over the version that its writer saw, 0 for none. Raises NewerVersion, InvalidDefinition."""
    compiled = check(source, organization=organization)
    if compiled.plan is None:
        raise InvalidDefinition(compiled.findings)
    return Definition.save_version(organization=organization, text=source.text, compiled=compiled, by=by, seen=seen)
