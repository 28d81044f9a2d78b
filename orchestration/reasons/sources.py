"""What may hold a run, a file each: `of(facts)` gives a reason for each thing of its kind that holds this run.

A new kind is a file here and a name in SOURCES, which is in the order of urgency: the first reason is the one that the
run's page says in its sentence.
"""

from collections.abc import Callable, Iterable

from orchestration.models import Run
from orchestration.reasons import (
    Part,
    Reason,
    children,
    ends,
    gates,
    items,
    leases,
    limits,
    pauses,
    promises,
    queues,
    retries,
    running,
    starts,
    uncertain,
    undoing,
    waits,
)
from orchestration.reasons.facts import Facts

SOURCES: tuple[Callable[[Facts], Iterable[Reason]], ...] = (
    pauses.of,
    undoing.of,
    ends.of,
    uncertain.of,
    leases.of,
    running.of,
    queues.not_taken,
    gates.of,
    retries.of,
    children.of,
    limits.of,
    items.of,
    waits.of,
    starts.of,
    queues.about_to_start,
)
NOTHING = Reason("engine", (Part("The engine is at work on it; its steps have all ended."),))


def explain(run: Run) -> list[Reason]:
    return why(Facts(run))


def why(facts: Facts) -> list[Reason]:
    """The most urgent at the front; never empty."""
    return ([reason for of in SOURCES for reason in of(facts)] or [NOTHING]) + list(promises.of(facts))
