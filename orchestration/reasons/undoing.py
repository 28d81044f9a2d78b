"""It takes back what it did, before it ends: how far, and whether a person has to say how it goes on."""

from collections.abc import Iterator
from urllib.parse import urlencode

from django.db.models import Count

from orchestration.models import Step
from orchestration.reasons import Reason, Words, phrase
from orchestration.reasons.facts import Facts, name, quote


def of(facts: Facts) -> Iterator[Reason]:
    run = facts.run
    if not run.undoing or run.has_ended:
        return
    found = facts.group(Step.Status.UNCERTAIN).steps
    if found:
        step = found[0]
        words = phrase(
            "{} could not be done: {}. Undo it on the other side, or have it tried again, and say so.",
            name(step),
            quote((step.error or {}).get("message") or "its worker was lost"),
        )
        url = f"{run.get_absolute_url()}?{urlencode({'step': step.name})}"
        yield Reason("undo", words, step.name, since=step.started_at, url=url)
        return
    total, done, _ = counts(facts)
    begun = facts.told("run.compensating")
    words = phrase("Undoing what it did, the last step first: {} of {} done.", f"{done:,}", f"{total:,}")
    yield Reason("undoing", words, since=begun.at if begun else None)


def counts(facts: Facts) -> tuple[int, int, int]:
    """How much is to be taken back, is, and could not be."""
    rows = Step.objects.filter(run=facts.run).exclude(undoes=None).order_by()
    by_status = dict(rows.values_list("status").annotate(count=Count("key")))
    return sum(by_status.values()), by_status.get(Step.Status.COMPLETED, 0), by_status.get(Step.Status.FAILED, 0)


def in_the_end(facts: Facts) -> Words:
    """Of a run that has ended."""
    if not facts.run.undoing:
        return ()
    total, done, failed = counts(facts)
    left = phrase(" {} could not be: look at them.", f"{failed:,}") if failed else ()
    return phrase(" {} of {} steps that could be undone were.{}", f"{done:,}", f"{total:,}", left)
