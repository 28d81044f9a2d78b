"""It waits for a time, for an event from outside, or for what no other file here has words of its own for."""

from collections.abc import Iterator

from orchestration.models import EventWait, Step
from orchestration.reasons import Reason, Words, phrase
from orchestration.reasons.facts import Facts, label, more, name, quote

TOLD = {"approval", "retry", "child", "limit"}


def of(facts: Facts) -> Iterator[Reason]:
    for (status, waits_for), group in facts.groups.items():
        if status != Step.Status.WAITING or waits_for in TOLD:
            continue
        step = group.steps[0]
        words = _words(facts, step, waits_for or "something")
        yield Reason(
            waits_for or "something",
            (*words, *phrase("{}.", more(group))),
            label(step),
            since=step.started_at,
            until=step.wake_at,
        )


def _words(facts: Facts, step: Step, waits_for: str) -> Words:
    if waits_for == "time" and step.wake_at:
        return phrase("{} goes on in {}", name(step), facts.until(step.wake_at))
    until = phrase(", at most {} more", facts.until(step.wake_at)) if step.wake_at else ()
    if waits_for != "event":
        return phrase("{} waits for {}{}", name(step), waits_for, until)
    return phrase("{} waits for {}{}", name(step), quote(heard(step)), until)


def heard(step: Step) -> str:
    """The events and messages that it waits for."""
    waits = EventWait.objects.filter(run_id=step.run_id, key=step.key).order_by("number")
    return " or ".join(f"{wait.name} {wait.event_key}".strip() for wait in waits)
