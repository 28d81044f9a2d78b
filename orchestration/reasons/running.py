"""A worker has it in hand: which, since when."""

from collections.abc import Iterator

from orchestration.models import Step
from orchestration.reasons import Reason, phrase
from orchestration.reasons.facts import Facts, label, more, name
from orchestration.reasons.leases import lost_steps, place_of


def of(facts: Facts) -> Iterator[Reason]:
    group = facts.group(Step.Status.RUNNING).but(lost_steps(facts))
    if not group.total:
        return
    step = group.steps[0]
    worker = facts.workers.get(step.owner or 0)
    most = (
        facts.run.definition_version.attempts_of(step.position, undoing=step.undoes is not None)
        if step.attempt > 1
        else 1
    )
    words = phrase(
        "Running {}{} for {}{}{}.",
        name(step),
        f", attempt {step.attempt} of {most}" if step.attempt > 1 else "",
        facts.since(step.started_at),
        phrase(" on worker {}", place_of(worker)) if worker else (),
        more(group),
    )
    yield Reason("running", words, label(step), since=step.started_at)
