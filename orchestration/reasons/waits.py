"""It waits for what no other file here has words of its own for."""

from collections.abc import Iterator

from orchestration.models import Step
from orchestration.reasons import Reason, phrase
from orchestration.reasons.facts import Facts, label, more, name

TOLD = {"approval", "retry", "child"}


def of(facts: Facts) -> Iterator[Reason]:
    for (status, waits_for), group in facts.groups.items():
        if status != Step.Status.WAITING or waits_for in TOLD:
            continue
        step = group.steps[0]
        until = phrase(", at most {} more", facts.until(step.wake_at)) if step.wake_at else ()
        words = phrase("{} waits for {}{}{}.", name(step), waits_for or "something", until, more(group))
        yield Reason(waits_for or "something", words, label(step), since=step.started_at, until=step.wake_at)
