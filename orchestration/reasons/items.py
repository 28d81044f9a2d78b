"""A map's items, or a loop's pass, have not all ended."""

from collections.abc import Iterator

from orchestration.models import Step
from orchestration.reasons import Reason, phrase
from orchestration.reasons.facts import Facts, label, name


def of(facts: Facts) -> Iterator[Reason]:
    for head in heads(facts):
        still = Step.objects.filter(run=facts.run, head=head.key).exclude(status__in=Step.ENDED).count()
        words = phrase(
            "{} waits for {} of its {} items, for {}.",
            name(head),
            f"{still:,}",
            f"{head.item_count:,}",
            facts.since(head.started_at),
        )
        yield Reason("items", words, label(head), since=head.started_at, until=head.wake_at)


def heads(facts: Facts) -> list[Step]:
    """They are known by their count: a step that waits for a run has none."""
    return [step for step in facts.group(Step.Status.WAITING, "child").steps if step.item_count is not None]
