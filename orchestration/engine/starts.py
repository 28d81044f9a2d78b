from collections.abc import Sequence
from typing import Any

from django.db import transaction

from accounts.models import Member, Organization
from accounts.public_ids import new_public_id
from orchestration.engine.connection import rows
from orchestration.engine.hints import hint_after_commit
from orchestration.engine.outcomes import NotRecordable, dump
from orchestration.engine.plans import plan_of
from orchestration.exceptions import InvalidInput, UnknownDefinition
from orchestration.models import Definition, Run

START = "select run, queues from engine_start_v1(%s, %s, %s, %s::jsonb, %s, %s, %s, %s)"


def start(*, organization: Organization, definition: str, given: Any, by: Member) -> Run:
    """Start a run of the definition's current version. Raises UnknownDefinition, InvalidInput."""
    found = Definition.objects.filter(organization=organization, slug=definition, current_version__isnull=False).first()
    if found is None or found.current_version_id is None:
        raise UnknownDefinition(definition)
    with transaction.atomic():
        run = start_version(found.current_version_id, organization.pk, given, by=by.pk)
    return Run.objects.get(pk=run)


def start_version(
    version: int, organization: int, given: Any, *, by: int | None, parent: Sequence[int] = (), depth: int = 0
) -> int:
    """The new run's id. `parent` is (run, key) of the step that waits for it. Raises InvalidInput.

    One statement; hints follow the commit.
    """
    try:
        text = dump(given)
    except NotRecordable as exc:
        raise InvalidInput([{"pointer": "", "message": str(exc)}]) from exc
    errors = plan_of(version).input_errors(given)
    if errors:
        raise InvalidInput(errors)
    parent_run, parent_key = parent or (None, None)
    ((run, queues),) = rows(
        START, [version, organization, new_public_id("run"), text, by, parent_run, parent_key, depth]
    )
    hint_after_commit(queues, [run])
    return int(run)
