import json
from collections.abc import Sequence
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


def start(*, organization: Organization, definition: str, given: Any, by: Member) -> Run:
    """Start a run of the definition's current version. Raises UnknownDefinition, InvalidInput."""
    version = _current_version(organization, definition)
    with transaction.atomic():
        run = start_version(version, organization.pk, given, by=by.pk)
    return Run.objects.get(pk=run)


def start_many(*, organization: Organization, definition: str, inputs: Sequence[Any], by: Member) -> list[int]:
    """Start a run for each of the inputs, or none: the new runs' ids, in that order. Raises as `start` does; pointers
    into bad inputs begin with `/inputs/N`."""
    version = _current_version(organization, definition)
    with transaction.atomic():
        return start_versions(version, organization.pk, inputs, by=by.pk)


def _current_version(organization: Organization, definition: str) -> int:
    found = Definition.objects.filter(organization=organization, slug=definition, current_version__isnull=False).first()
    if found is None or found.current_version_id is None:
        raise UnknownDefinition(definition)
    if found.archived_at is not None:
        raise Refused(f"{definition} is archived; restore it to start runs of it.")
    return found.current_version_id


def start_version(
    version: int,
    organization: int,
    given: Any,
    *,
    by: int | None,
    parent: Sequence[int] = (),
    depth: int = 0,
    facts: dict[str, Any] | None = None,
) -> int:
    """The new run's id. `parent` is (run, key) of the step that waits for it; `facts` as `engine_lay` takes them.
    Raises InvalidInput, AgentGone."""
    asked = _checked(version, organization, given, by)
    (run,) = _begin(version, organization, [asked], by, parent, depth, facts or {})
    return run


def start_versions(version: int, organization: int, inputs: Sequence[Any], *, by: int | None) -> list[int]:
    """The new runs' ids, in the order of their inputs. Raises InvalidInput."""
    checked, errors = [], []
    for number, given in enumerate(inputs):
        try:
            checked.append(_checked(version, organization, given, by))
        except InvalidInput as exc:
            errors += [
                {**one, "pointer": f"/inputs/{number}{one['pointer'].removeprefix('/input')}"} for one in exc.errors
            ]
    if errors:
        raise InvalidInput(errors)
    return _begin(version, organization, checked, by, (), 0, {}) if checked else []


def facts_of(version: int, organization: int, given: Any, *, by: int | None) -> dict[str, Any]:
    """What a run of it has beside its steps, as `engine_lay` takes it. Raises InvalidInput."""
    plan = plan_of(version)
    return {"level": plan.level, "timeout": plan.timeout, **plan.at_start.facts(given, by, organization)}


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
) -> list[int]:
    """One statement, however many; hints follow the commit."""
    publics = [new_public_id("run") for _ in asked]
    inputs = [one.text for one in asked]
    known = [json.dumps(one.facts | facts) for one in asked]
    given = [version, organization, publics, inputs, by, *(parent or (None, None)), depth, known]
    try:
        ((runs, queues, ready),) = rows(START, given)
    except DatabaseError as exc:
        if getattr(exc.__cause__, "sqlstate", None) == GONE:
            raise AgentGone(str(exc).partition("\n")[0]) from exc
        raise
    hint_after_commit(dict(zip(queues or (), ready or (), strict=True)), runs)
    return list(runs)
