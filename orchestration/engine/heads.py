"""Heads: the row of a map or a repeat lays items, waits for them, and is claimed once more when they have ended."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.engine.connection import decoded, returned_connection, rows
from orchestration.engine.outcomes import INLINE_BYTES, Outcome, dump, payload_texts, store_payloads
from orchestration.engine.plans import agent_of
from orchestration.models import Step

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of an item, or of a pass. `output` is None unless it completed."""

    index: int
    status: str
    error: dict[str, Any] | None
    output: Any

    @property
    def is_open(self) -> bool:
        return self.status not in Step.ENDED

    @property
    def is_bad(self) -> bool:
        return not self.is_open and self.status != Step.Status.COMPLETED


def lay(execution: "Execution", items: Sequence[dict[str, Any]], kind: str, **how: Any) -> Outcome:
    """Let the head wait for rows of this kind, one for each of `items`. `how` is for `engine_spread`."""
    step, claim = execution.step, execution.claim
    spread = {"items": items, "kind": kind, "repeatable": _repeatable(execution), "reads": step.item_reads, **how}
    if kind != "repeat":  # whose passes have times of their own
        spread |= {"total": step.timeouts.get("step"), "patience": step.timeouts.get("queue")}
    note = {"items": len(items)} if claim.phase == 0 else {}
    more = {"phase": 1, "spread": {name: each for name, each in spread.items() if each is not None}}
    return Outcome("waiting", fields={"waits_for": "child", "note": note, "more": more})


def as_items(values: Sequence[Any]) -> list[dict[str, Any]]:
    """The values as `lay` takes them; large ones are stored. Raises NotRecordable."""
    items, payloads = [], []
    for value in values:
        text = dump(value)
        if len(text) <= INLINE_BYTES:
            items.append({"item": value})
        else:
            digest = hashlib.sha256(text.encode()).digest()
            payloads.append((digest, text))
            items.append({"digest": digest.hex()})
    if payloads:
        with returned_connection():
            store_payloads(payloads)
    return items


def gathered(execution: "Execution", *, last: int | None = None) -> list[Ended]:
    """What became of the head's items, in their order; or of the `last` so many."""
    claim = execution.claim
    with returned_connection():
        found = rows(
            "select index, status, error, output, encode(output_digest, 'hex') from orchestration_step"
            " where run_id = %s and head = %s and key >= %s order by key desc limit %s",
            [claim.run, claim.key, claim.more["first_item"], last],
        )
        large = payload_texts([row[4] for row in found if row[4] is not None])
    return [
        Ended(index, status, decoded(error), decoded(output if digest is None else large[digest]))
        for index, status, error, output, digest in reversed(found)
    ]


def _repeatable(execution: "Execution") -> bool:
    said = execution.step.repeatable
    if said is None and execution.claim.agent_version is not None:
        with returned_connection():
            return agent_of(execution.claim.agent_version).repeatable
    return said is not False
