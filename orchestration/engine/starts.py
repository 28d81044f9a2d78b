import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, transaction

from accounts.models import Member, Organization
from accounts.public_ids import new_public_id
from orchestration.engine.connection import rows
from orchestration.engine.hints import hint_after_commit
from orchestration.engine.outcomes import NotRecordable, dump
from orchestration.engine.plans import plan_of
from orchestration.exceptions import AgentGone, InvalidInput, Refused, UnknownDefinition
from orchestration.models import Definition, Run

START = "select runs, queues, ready from engine_start_v3(%s, %s, %s::text[], %s::jsonb[], %s, %s, %s, %s, %s::jsonb[])"
GONE = "CS404"  # the SQL state of a start whose agent is not there any more


@dataclass(frozen=True, slots=True)
class Asked:
    """A start that may be: its input as JSON, and what its run has beside its steps."""

    text: str
    facts: dict[str, Any]


def start(*, organization: Organization, definition: str, given: Any, by: Member, version: int | None = None) -> Run:
    """Start a run of the version of that number, or of the one that new runs begin with now. Raises UnknownDefinition,
    InvalidInput, Refused."""
    found = _startable(organization, definition)
    public = new_public_id("run")
    chosen = found.version_for(public) if version is None else _numbered(found, version)
    with transaction.atomic():
        run = start_version(chosen or 0, organization.pk, given, by=by.pk, public=public)
    return Run.objects.get(pk=run)


def start_many(*, organization: Organization, definition: str, inputs: Sequence[Any], by: Member) -> list[int]:
    """Start a run for each of the inputs, or none: the new runs' ids, in that order. Raises as `start` does; pointers
    into bad inputs begin with `/inputs/N`."""
    found = _startable(organization, definition)
    publics = [new_public_id("run") for _ in inputs]
    chosen = [found.version_for(public) or 0 for public in publics]
    begun: dict[int, int] = {}
    with transaction.atomic():
        for version in sorted(set(chosen)):
            asked = {place: inputs[place] for place, one in enumerate(chosen) if one == version}
            ids = [publics[place] for place in asked]
            runs = start_versions(version, organization.pk, asked.values(), by=by.pk, publics=ids, places=list(asked))
            begun |= zip(asked, runs, strict=True)
    return [begun[place] for place in range(len(inputs))]


def _startable(organization: Organization, definition: str) -> Definition:
    found = Definition.objects.filter(organization=organization, slug=definition, current_version__isnull=False).first()
    if found is None:
        raise UnknownDefinition(definition)
    if found.archived_at is not None:
        raise Refused(f"{definition} is archived; restore it to start runs of it.")
    return found


def _numbered(definition: Definition, number: int) -> int:
    found: int | None = definition.versions.filter(number=number).values_list("pk", flat=True).first()
    if found is None:
        raise InvalidInput([{"pointer": "/version", "message": f"{definition.slug} has no version {number}."}])
    return found


def start_version(
    version: int,
    organization: int,
    given: Any,
    *,
    by: int | None,
    parent: Sequence[int] = (),
    depth: int = 0,
    facts: dict[str, Any] | None = None,
    public: str | None = None,
) -> int:
    """The new run's id. `parent` is (run, key) of the step that waits for it; `facts` as `engine_lay` takes them;
    `public` is its public id, made here if left out. Raises InvalidInput, AgentGone."""
    asked = _checked(version, organization, given, by)
    (run,) = _begin(version, organization, [asked], by, parent, depth, facts or {}, [public] if public else None)
    return run


def start_versions(
    version: int,
    organization: int,
    inputs: Collection[Any],
    *,
    by: int | None,
    publics: Sequence[str] | None = None,
    places: Sequence[int] | None = None,
) -> list[int]:
    """The new runs' ids, in the order of their inputs. `places`: what pointers call them. Raises InvalidInput."""
    checked, errors = [], []
    for number, given in zip(places or range(len(inputs)), inputs, strict=True):
        try:
            checked.append(_checked(version, organization, given, by))
        except InvalidInput as exc:
            errors += [
                {**one, "pointer": f"/inputs/{number}{one['pointer'].removeprefix('/input')}"} for one in exc.errors
            ]
    if errors:
        raise InvalidInput(errors)
    return _begin(version, organization, checked, by, (), 0, {}, publics) if checked else []


def facts_of(version: int, organization: int, given: Any, *, by: int | None) -> dict[str, Any]:
    """What a run of it has beside its steps, as `engine_lay` takes it. Raises InvalidInput."""
    plan = plan_of(version)
    own = {"budget": plan.budget} if plan.budget else {}
    return {"level": plan.level, "timeout": plan.timeout, **own, **plan.at_start.facts(given, by, organization)}


def _checked(version: int, organization: int, given: Any, by: int | None) -> Asked:
    try:
        text = dump(given)
    except NotRecordable as exc:
        raise InvalidInput([{"pointer": "", "message": str(exc)}]) from exc
    if errors := plan_of(version).input_errors(given):
        raise InvalidInput(errors)
    return Asked(text, facts_of(version, organization, given, by=by))


def _begin(
    version: int,
    organization: int,
    asked: Sequence[Asked],
    by: int | None,
    parent: Sequence[int],
    depth: int,
    facts: dict[str, Any],
    publics: Sequence[str] | None,
) -> list[int]:
    """One statement, however many; hints follow the commit."""
    publics = publics or [new_public_id("run") for _ in asked]
    inputs = [one.text for one in asked]
    known = [json.dumps(one.facts | facts) for one in asked]
    given = [version, organization, list(publics), inputs, by, *(parent or (None, None)), depth, known]
    with agents_there():
        ((runs, queues, ready),) = rows(START, given)
    hint_after_commit(dict(zip(queues or (), ready or (), strict=True)), runs)
    return list(runs)


@contextmanager
def agents_there() -> Iterator[None]:
    """Runs are laid within. Raises AgentGone."""
    try:
        yield
    except DatabaseError as exc:
        if getattr(exc.__cause__, "sqlstate", None) == GONE:
            raise AgentGone(str(exc).partition("\n")[0]) from exc
        raise
