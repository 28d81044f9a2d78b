"""A person paused it, or a budget that is used up did."""

from collections.abc import Iterator
from typing import Any

from django.urls import reverse

from orchestration.models import Event, Run
from orchestration.reasons import Part, Reason, Words, phrase
from orchestration.reasons.facts import Facts, quote


def of(facts: Facts) -> Iterator[Reason]:
    if facts.run.status != Run.Status.PAUSED:
        return
    event = facts.told("run.paused")
    said = (event and event.data) or {}
    if event is not None and "budget" in said:
        yield Reason("budget", _of_budget(facts, event, said), since=event.at, url=_page(said["budget"]))
        return
    words = phrase(
        "Paused{}{}{}: nothing starts until someone resumes it; calls under way may end.",
        phrase(" for {}", facts.since(event.at)) if event else (),
        phrase(" by {}", Part(said["by"], "name")) if said.get("by") else (),
        phrase(" because of {}", quote(said["reason"])) if said.get("reason") else (),
    )
    yield Reason("paused", words, since=event.at if event else None)


def _of_budget(facts: Facts, event: Event, said: dict[str, Any]) -> Words:
    own = said["budget"] == facts.run.public_id
    return phrase(
        "Paused for {}: {}{}; nothing starts until it is raised, calls under way may end.",
        facts.since(event.at),
        said["reason"],
        () if own else phrase(", that of {}", Part("the run above", "link", _page(said["budget"]))),
    )


def _page(run: str) -> str:
    return reverse("pages:run", args=[run])
