"""A try failed, the next comes at its time."""

from collections.abc import Iterator

from orchestration.models import Step
from orchestration.reasons import Reason, phrase
from orchestration.reasons.facts import Facts, label, more, name, quote


def of(facts: Facts) -> Iterator[Reason]:
    group = facts.group(Step.Status.WAITING, "retry")
    if not group.total:
        return
    step = group.steps[0]
    words = phrase(
        "Retrying {}: attempt {} of {} {}{}{}.",
        name(step),
        str(step.attempt + 1),
        str(facts.run.definition_version.attempts_of(step.position, undoing=step.undoes is not None)),
        phrase("in {}", facts.until(step.wake_at)) if step.wake_at and step.wake_at > facts.now else "now",
        phrase(", after {}", quote(step.error["message"])) if step.error else (),
        more(group),
    )
    yield Reason("retry", words, label(step), until=step.wake_at)
