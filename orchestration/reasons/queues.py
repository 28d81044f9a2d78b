"""It is ready, and lies in the queue of its agent's kind until a worker takes it."""

from collections.abc import Iterator

from orchestration.models import Step
from orchestration.reasons import Reason, phrase
from orchestration.reasons.facts import Facts, label, more, name

AT_ONCE_SECONDS = 5.0  # so long a step may be ready before anyone asks where the workers are


def not_taken(facts: Facts) -> Iterator[Reason]:
    since = facts.ready_since
    if since is None or (facts.now - since).total_seconds() <= AT_ONCE_SECONDS:
        return
    group = facts.group(Step.Status.READY)
    step = group.steps[0]
    why = (
        f"are workers of queue {step.queue} running, or all busy?"
        if facts.some_worker_lives
        else "no worker is running; start one."
    )
    words = phrase(
        "{} has been ready for {}{}, and no worker has taken it: {}", name(step), facts.since(since), more(group), why
    )
    yield Reason("queue", words, label(step), since=since)


def about_to_start(facts: Facts) -> Iterator[Reason]:
    since = facts.ready_since
    if since is None or (facts.now - since).total_seconds() > AT_ONCE_SECONDS:
        return
    group = facts.group(Step.Status.READY)
    words = phrase("{} is ready{}; a worker takes it up at once.", name(group.steps[0]), more(group))
    yield Reason("ready", words, label(group.steps[0]), since=since)
