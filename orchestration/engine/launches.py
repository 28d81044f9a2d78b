"""Lets a step start a run of a saved definition, and wait for its end."""

from typing import TYPE_CHECKING, Any

from django.conf import settings

from accounts.public_ids import new_public_id
from orchestration.engine.checks import listed
from orchestration.engine.connection import returned_connection, rows
from orchestration.engine.outcomes import Outcome, failed
from orchestration.engine.plans import plan_of
from orchestration.engine.starts import facts_of
from orchestration.exceptions import InvalidInput
from orchestration.language.findings import at_most
from orchestration.models.definitions import share_of

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution

# A version of it, an agent of that version that is not here any more, and whether it is archived.
FOUND = """
select v.id,
       (select min(a.slug) from jsonb_to_recordset(v.layout) as l(agent text, undo text) cross join unnest(array[l.agent, l.undo]) as a(slug)
        where a.slug is not null and not exists (
            select from agents_agent h where h.organization_id = d.organization_id and h.slug = a.slug and h.current_version_id is not null)),
       d.archived_at
from orchestration_definition d
left join orchestration_definitionversion v on v.definition_id = d.id and case when %s::int is not null then v.number = %s
    when %s >= d.rollout_percent then v.id = d.rollout_version_id else v.id = d.current_version_id end
where d.organization_id = %s and d.slug = %s
"""  # noqa: E501


def launch(
    execution: "Execution",
    definition: str,
    content: Any,
    *,
    given: Any,
    version: int | None = None,
    stays: bool = False,
) -> Outcome:
    """The step waits for a run with this `content`, laid as the wait is recorded; or fails. `given`: its own input.

    `stays`: the run goes on when the step no longer waits for it.
    """
    claim = execution.claim
    if claim.depth >= settings.RUN_DEEPEST:
        return _refused("Runs start runs, deeper and deeper; the definition seems to run itself.", given, "RUN_DEEPEST")
    public = new_public_id("run")
    with returned_connection():
        found = rows(FOUND, [version, version, share_of(public), claim.organization, definition])
        pk, gone, archived_at = found[0] if found else (None, None, None)
        if not found:
            return failed("permanent", f"No definition is called {definition!r} here.", given=given)
        if archived_at is not None:
            return failed("permanent", f"{definition} is archived and starts nothing.", given=given)
        if pk is None:
            return failed("permanent", f"{definition} has no version {version or ''}".rstrip() + ".", given=given)
        if gone is not None:
            return failed("permanent", f"{definition} needs the agent {gone}, which is not here any more.", given=given)
        if errors := plan_of(pk).input_errors(content):
            return failed("permanent", f"{definition} does not take this input: {listed(errors)}", given=given)
        try:
            facts = facts_of(pk, claim.organization, content, by=claim.started_by)
        except InvalidInput as exc:
            return failed("expression", f"{definition} does not start: {listed(exc.errors)}", given=given)
    full = _refused("No more runs can be started below one.", given, "RUN_TREE_MOST").fields["error"]
    room = {"most": settings.RUN_TREE_MOST, "full": full}
    child = {"version": pk, "public": public, "input": content, "facts": facts, **room}
    if stays:
        child["facts"] = {**child["facts"], "stays": True}
    fields: dict[str, Any] = {"waits_for": "child", "note": {"child": child["public"]}, "more": {"launch": child}}
    if execution.step.timeout is not None:
        fields["wake"] = execution.step.timeout
    return Outcome("waiting", input=given, fields=fields)


def _refused(message: str, given: Any, setting: str) -> Outcome:
    return failed("permanent", f"{message} {at_most(setting)}", given=given)
