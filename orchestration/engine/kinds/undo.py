"""Takes back what a step did: calls the agent that its `compensate` names, with the input that was kept of it."""

from typing import TYPE_CHECKING

from orchestration.engine import failpoints
from orchestration.engine.connection import decoded, returned_connection, rows
from orchestration.engine.kinds.agent import ask
from orchestration.engine.outcomes import Outcome, failed, load_payload
from orchestration.engine.plans import agent_of

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution

KEPT = """
select s.input, encode(s.input_digest, 'hex'), o.undo ->> 'why' from orchestration_step s
join orchestration_step o on o.run_id = s.run_id and o.key = s.undoes where s.run_id = %s and s.key = %s
"""


def begin(execution: "Execution") -> Outcome:
    """A failure of it is for a person, once there is no other try: see `Ended`."""
    claim = execution.claim
    with returned_connection():
        agent = agent_of(claim.agent_version or 0)
        ((text, digest, why),) = rows(KEPT, [claim.run, claim.key])
        given = decoded(text) if digest is None else load_payload(bytes.fromhex(digest))
    if why is not None:
        return failed("permanent", f"What is to be undone is not known: {why}")
    failpoints.reach("undoing")
    return ask(execution, agent, given)
