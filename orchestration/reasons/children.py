"""A run that a step started has not ended."""

from collections.abc import Iterator

from orchestration.models import Run, Step
from orchestration.reasons import Reason, Words, phrase
from orchestration.reasons.facts import Facts, label, more, name, quote, run_link
from orchestration.reasons.items import heads
from orchestration.reasons.waits import heard


def of(facts: Facts) -> Iterator[Reason]:
    group = facts.group(Step.Status.WAITING, "child").but(heads(facts))
    if not group.total:
        return
    step = group.steps[0]
    child = facts.below.get(step.child_run_id or 0) or _ended(step)
    words = phrase(
        "Waiting {} for the run {}{}{}.",
        facts.since(step.started_at),
        phrase("of {} that {} started, which is {}", run_link(child), name(step), child.status)
        if child
        else phrase("that {} started", name(step)),
        (*_beside(step), *(phrase(", at most {} more", facts.until(step.wake_at)) if step.wake_at else ())),
        more(group),
    )
    url = child.get_absolute_url() if child else None
    yield Reason("child", words, label(step), since=step.started_at, until=step.wake_at, url=url)


def _beside(step: Step) -> Words:
    """What else a wait ends with."""
    what = heard(step) if step.kind == "wait" else ""
    return phrase(", or for {}", quote(what)) if what else ()


def _ended(step: Step) -> Run | None:
    """Its parent is told of its end in a moment."""
    return Run.objects.filter(pk=step.child_run_id or 0).for_list().without_values().first()
