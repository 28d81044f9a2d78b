"""Takes up the ends of children: a child's own end never locks its parent."""

from orchestration.engine import failpoints
from orchestration.engine.checks import listed
from orchestration.engine.connection import rows
from orchestration.engine.outcomes import Outcome, failed, load_payload
from orchestration.engine.plans import agent_of
from orchestration.engine.settling import each, finished, output_errors, settle
from orchestration.models import Run, Step


def tell_parents() -> int:
    """Give ended children's outcomes to the steps that wait for them; how many."""
    return each(Run.objects.filter(told_at=None, parent_run_id__gt=0, ended_at__isnull=False), _tell_parent)


def _tell_parent(key: int) -> None:
    child = Run.objects.defer("input").get(pk=key)
    parent = (
        Step.objects.filter(run_id=child.parent_run_id or 0, key=child.parent_key or 0)
        .only("fence", "agent_version_id", "input", "input_digest")
        .first()
    )
    if parent is not None:
        place = (parent.run_id, parent.key, parent.fence)
        # Another may just have told the same: then the step may wait for its next try, or for the child of that.
        waits = Step.objects.filter(run_id=parent.run_id, key=parent.key, waits_for="child", child_run_id=child.pk)
        settle(place, "waiting", finished(place, _of_child(child, parent)), only_if=waits.exists)
    failpoints.reach("told")
    rows("update orchestration_run set told_at = clock_timestamp() where id = %s and told_at is null", [child.pk])


def _of_child(child: Run, parent: Step) -> Outcome:
    note = {"child": child.public_id}
    if child.status == Run.Status.COMPLETED:
        output = child.output if child.output_digest is None else load_payload(bytes(child.output_digest))
        if errors := output_errors(parent, output):
            agent = agent_of(parent.agent_version_id or 0).slug
            return failed("permanent", f"{agent} answered against its schema: {listed(errors)}", note=note)
        return Outcome("completed", output=output, fields={"note": note})
    message = (child.error or {}).get("message") or f"Its run {child.public_id} is {child.status}."
    error = {"class": f"child_{child.status}", "message": message, "run": child.public_id}
    # What its parent's cancel reached is canceled there too.
    more = {"more": {"canceled_too": True}} if child.status == Run.Status.CANCELED else {}
    return Outcome("failed", fields={"note": note, "error": error, **more})
