"""A person paused it."""

from collections.abc import Iterator

from orchestration.models import Run
from orchestration.reasons import Part, Reason, phrase
from orchestration.reasons.facts import Facts, quote


def of(facts: Facts) -> Iterator[Reason]:
    if facts.run.status != Run.Status.PAUSED:
        return
    event = facts.told("run.paused")
    said = (event and event.data) or {}
    words = phrase(
        "Paused{}{}{}: nothing starts until someone resumes it; calls under way may end.",
        phrase(" for {}", facts.since(event.at)) if event else (),
        phrase(" by {}", Part(said["by"], "name")) if said.get("by") else (),
        phrase(" because of {}", quote(said["reason"])) if said.get("reason") else (),
    )
    yield Reason("paused", words, since=event.at if event else None)
