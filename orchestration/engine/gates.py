"""Checkpoints as the steps behind them see them: what would run must be what was decided."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agents.models import AgentVersion
from approvals.digests import digest_of
from orchestration.engine import failpoints
from orchestration.engine.connection import returned_connection, rows, value
from orchestration.engine.outcomes import dump, load_payload

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def digests_behind(execution: "Execution", gate: int) -> list[list[str]]:
    """[[step, its pinned agent version's digest]], of the steps that need this gate directly, in order."""
    steps = execution.plan.steps
    names = [step.name for step in steps.values() if steps[gate].name in step.needs]
    pinned = dict(
        rows(
            "select distinct on (name) name, agent_version_id from orchestration_step"
            " where run_id = %s and name = any(%s) order by name, round desc",
            [execution.claim.run, names],
        )
    )
    digests = dict(
        AgentVersion.objects.filter(pk__in=[version for version in pinned.values() if version]).values_list(
            "pk", "digest"
        )
    )
    return [[name, digests.get(pinned[name], "")] for name in sorted(names)]


def shown_to(roles: Sequence[str] | None) -> dict[str, Any]:
    """What the context of a question says of who sees what is in its run, besides who may answer it."""
    return {"visible_to": list(roles)} if roles else {}


def differs_from_decided(execution: "Execution", read: Mapping[str, Any]) -> bool:
    """Whether what would run is not what was decided: the digest, made anew, against that after edits.

    It is so behind a gate that was sent back, too, which let nothing through: a step that may start without the gate
    (`needs` any/of) may have read it before the answer, and reads its newer round when it is claimed again.
    """
    decision = read["d"]
    if decision is None or "digest" not in decision:
        return False  # no one was asked: the gate was skipped, and its `status` is read by this step's `if`
    payload = read["o"]
    with returned_connection():
        if read["x"] is not None:
            payload = load_payload(bytes.fromhex(read["x"]))
        steps = digests_behind(execution, read["p"])
    return bool(decision["digest"] != digest_of(payload, decision["choices"], execution.plan.digest, steps))


def reopen_gate(execution: "Execution", read: Mapping[str, Any]) -> bool:
    """Let this step wait for a newer gate than the one it read: for one that is there already, or a new one.

    False if the step or its run has moved on.
    """
    gate, claim = read["p"], execution.claim
    name = execution.plan.steps[gate].name
    note = {"reason": f"what {name} let through is not what was decided", "step": name}
    with returned_connection():
        opened = value(
            "select engine_reopen_v2(%s, %s, null, %s, null, %s::jsonb, null, %s, %s)",
            [claim.run, read["k"], [gate], dump(note), claim.key, claim.fence],
        )
    failpoints.reach("reopened")
    return bool(opened)
