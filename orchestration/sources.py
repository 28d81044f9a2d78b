"""Definitions from text: one, or a set of files whose references among each other count."""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from accounts.models import Member, Organization
from agents.models import Agent
from approvals.models import Policy
from orchestration.exceptions import InvalidDefinition
from orchestration.language import (
    AgentFacts,
    Compiled,
    DefinitionFacts,
    Finding,
    Unreadable,
    compile_definition,
    facts_of,
    read,
)
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
    known = Definitions(organization)

    def compile_all(definitions: Mapping[str, DefinitionFacts]) -> list[Compiled]:
        return [
            compile_definition(source.text, file=source.file, agents=agents, policies=policies, definitions=definitions)
            for source in sources
        ]

    if len(sources) == 1:
        return compile_all(known)
    # First they know no more of each other than their names.
    number = {name: known[name].number + 1 if name in known else 1 for name in names_in(sources)}
    named = {name: DefinitionFacts(number=number[name]) for name in number}
    known = known.replaced_by(named)
    checked = compile_all(known)
    plans = [compiled.plan for compiled in checked if compiled.plan is not None]
    if any("run" in step or "child" in step.get("wait", ()) for plan in plans for step in plan["steps"]):
        full = {plan["name"]: facts_of(plan, number[plan["name"]]) for plan in plans}
        checked = compile_all(known.replaced_by(full))
    return without_twins(checked, sources)


class Definitions(Mapping[str, DefinitionFacts]):
    """Those of an organization, by name; a plan is read when it is asked for."""

    def __init__(self, organization: Organization) -> None:
        found = Definition.objects.filter(organization=organization, current_version__isnull=False)
        self._versions = {slug: pk or 0 for slug, pk in found.values_list("slug", "current_version_id")}
        self._facts: dict[str, DefinitionFacts] = {}

    def replaced_by(self, facts: Mapping[str, DefinitionFacts]) -> "Definitions":
        """These instead, and beside the others."""
        both = copy(self)
        both._versions, both._facts = {**self._versions, **dict.fromkeys(facts, 0)}, {**self._facts, **facts}
        return both

    def __getitem__(self, name: str) -> DefinitionFacts:
        if name not in self._facts:
            version = DefinitionVersion.objects.only("plan", "number").get(pk=self._versions[name])
            self._facts[name] = facts_of(version.plan, version.number)
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __len__(self) -> int:
        return len(self._versions)


def names_in(sources: Sequence[Source]) -> set[str]:
    """What the texts call themselves, as far as they can be read."""
    names = set()
    for source in sources:
        with contextlib.suppress(Unreadable):
            said = read(source.text, source.file)[0].value
            name = said.get("name") if isinstance(said, dict) else None
            names |= {name} if isinstance(name, str) else set()
    return names


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
    found = found.filter(slug__in=names) if names else found.filter(archived_at=None)
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
