"""A step stands in the line of a limit, or waits for an answer that another step asks for."""

from collections.abc import Iterator

from django.db.models import Q

from orchestration.models import Limit, LimitPlace, LimitSlot, Run, Step
from orchestration.reasons import Reason, Words, phrase
from orchestration.reasons.answers import asked_by
from orchestration.reasons.facts import Facts, label, more, name, quote, run_link
from ui.templatetags.ui import duration


def of(facts: Facts) -> Iterator[Reason]:
    group = facts.group(Step.Status.WAITING, "limit")
    if not group.total:
        return
    step = group.steps[0]
    place = LimitPlace.objects.filter(run_id=step.run_id, key=step.key).first()
    limit = Limit.objects.filter(pk=place.limit_id).first() if place else None
    if place is None or limit is None:
        asker = asked_by(step)
        what = phrase("the answer that {} asks for at this moment", run_link(asker)) if asker else phrase("a limit")
        yield Reason("limit", phrase("{} waits for {}{}.", name(step), what, more(group)), label(step))
        return
    held = _rate(facts, limit, place) if limit.kind == Limit.Kind.RATE else _slots(facts, limit)
    ahead = _ahead(place)
    words = phrase(
        "{} has waited {} for the limit {}, {}{}{}.",
        name(step),
        facts.since(place.since),
        quote(limit.key),
        held,
        f", {ahead} before it in line" if ahead else "",
        more(group),
    )
    yield Reason("limit", words, label(step), since=place.since, until=place.woken_at)


def _slots(facts: Facts, limit: Limit) -> Words:
    """Who holds it: the one that has held it longest is named."""
    slots = LimitSlot.objects.filter(limit_id=limit.pk).order_by("since")
    first = slots.first()
    of_all = f"of which {limit.taken:,} of {limit.most:,} {'is' if limit.taken == 1 else 'are'} taken"
    run = (
        Run.objects.for_list().filter(pk=first.run_id, organization_id=limit.organization_id).first() if first else None
    )
    if first is None or run is None:
        return phrase(of_all)
    return phrase("{}, the first by {} for {}", of_all, run_link(run), facts.since(first.since))


def _rate(facts: Facts, limit: Limit, place: LimitPlace) -> Words:
    allowed = f"which lets {limit.most:,} begin in {duration(limit.span)}"
    if place.woken_at is None or place.woken_at <= facts.now:
        return phrase(allowed)
    return phrase("{}, and goes on in {}", allowed, facts.until(place.woken_at))


def _ahead(place: LimitPlace) -> int:
    line = LimitPlace.objects.filter(limit_id=place.limit_id)
    return line.filter(Q(priority__gt=place.priority) | Q(priority=place.priority, pk__lt=place.pk)).count()
