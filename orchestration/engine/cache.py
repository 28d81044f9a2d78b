"""Answers that steps keep for each other: a step asks only if nobody has asked the same, nor is asking it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.db import transaction

from accounts import audit
from accounts.models import Member, Organization
from orchestration.engine.connection import decoded, returned_connection, rows, value
from orchestration.engine.outcomes import Outcome, load_payload
from orchestration.engine.plans import AgentFacts
from orchestration.models import CacheEntry, Run

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution

LOOK = "select * from engine_look_v1(%s, %s, %s, %s, %s, %s)"
LARGEST_PASS = 100


def asked_once(
    execution: "Execution",
    agent: AgentFacts,
    question: Any,
    ask: Callable[[], Outcome],
    take: Callable[[Any], Outcome],
) -> Outcome:
    """What `ask` gives, or `take` of the answer that is kept; or the step waits for the one that asks.

    A person's new round wants a new answer: it asks whatever there is, and what it is told is kept from then on.
    """
    claim = execution.claim
    digest = _digest(execution, agent, question)
    if claim.round == 1:
        with returned_connection():
            look = [claim.organization, digest, agent.slug, claim.run, claim.key, claim.fence]
            ((verdict, output, large, made),) = rows(LOOK, look)
            answer = load_payload(bytes.fromhex(large)) if large else decoded(output)
        if verdict == "waits":
            return Outcome("waiting", fields={"waits_for": "limit", "note": {"asks": decoded(made)}})
        if verdict == "kept":
            taken = take(answer)
            return replace(taken, fields={**taken.fields, "usage": {"cached_from": decoded(made)}})
    outcome = ask()
    kept = {"digest": digest.hex(), "agent": agent.slug, "seconds": execution.step.cache["ttl"]}
    return replace(outcome, fields={**outcome.fields, "more": {**outcome.fields.get("more", {}), "cache": kept}})


def _digest(execution: "Execution", agent: AgentFacts, question: Any) -> bytes:
    """Another version of the agent is asked anew, and so is another of its operations under the same key."""
    key = execution.step.cache_key
    asked = question if key is None else [key.evaluate(execution.context), question[0].get("operation")]
    return hashlib.sha256(json.dumps([agent.digest, key is None, asked], sort_keys=True).encode()).digest()


def pass_on() -> int:
    """Let the next in line ask where the one that asked is at it no more; how many."""
    return int(value("select engine_pass_on_v1(%s)", [LARGEST_PASS]))


@transaction.atomic
def purge(
    organization: Organization, *, by: Member | None, reason: str, agent: str | None = None, run: Run | None = None
) -> int:
    """Forget the answers of this agent, those that this run asked for, or all; how many. What is being asked at
    this moment is kept when it comes."""
    wanted = {name: text for name, text in (("agent", agent), ("run_id", run and run.pk)) if text is not None}
    found = CacheEntry.objects.kept(organization).filter(**wanted)
    locked = list(found.order_by("digest").select_for_update().values_list("digest", flat=True))
    gone = CacheEntry.objects.kept(organization).filter(digest__in=locked).delete()[0]
    data = {"agent": agent, "run": run and run.public_id, "answers": gone, "reason": reason}
    audit.record(organization=organization, actor=by, action="cache.purge", target=agent or "cache", data=data)
    return gone
