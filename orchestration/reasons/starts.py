"""It waits for its turn to begin."""

from collections.abc import Iterator

from django.db.models import Q

from orchestration.models import Limit, LimitPlace, LimitSlot, Run, Step
from orchestration.reasons import Reason, Words, phrase
from orchestration.reasons.facts import Facts, quote, run_link

MOST = 3  # runs that are named


def of(facts: Facts) -> Iterator[Reason]:
    run = facts.run
    if run.status != Run.Status.WAITING or run.level == 0:
        return
    start = Step.objects.filter(run=run, key=0, kind="start", status=Step.Status.WAITING).first()
    if start is None:
        return
    place = LimitPlace.objects.filter(run_id=run.pk, key=0).first()
    until = start.wake_at if place is None else place.woken_at
    if "debounce" in (start.input or {}):
        words = phrase("It begins {}, unless another start joins it before.", _in(facts, start))
        yield Reason("start", words, since=run.created_at, until=until)
        return
    if place is None or (until is not None and until <= facts.now):
        yield Reason("start", phrase("It has its turn to begin {}.", _in(facts, start)), until=until)
        return
    limit = Limit.objects.get(pk=place.limit_id)
    words = phrase("It waits for its turn to begin, for {}", quote(limit.key))
    if until is not None:
        words += phrase(": so many have begun of late; it begins in {}.", facts.until(until))
    else:
        words += _in_line(limit, place)
    yield Reason("start", words, since=place.since, until=until)


def _in(facts: Facts, start: Step) -> Words:
    return phrase("in {}", facts.until(start.wake_at)) if start.wake_at and start.wake_at > facts.now else phrase("now")


def _in_line(limit: Limit, place: LimitPlace) -> Words:
    line = LimitPlace.objects.filter(limit_id=limit.pk, woken_at=None)
    ahead = line.filter(Q(priority__gt=place.priority) | Q(priority=place.priority, pk__lt=place.pk)).count()
    before = phrase("; {} before it", f"{ahead} {'waits' if ahead == 1 else 'wait'}") if ahead else ()
    holders = LimitSlot.objects.filter(limit_id=limit.pk).order_by("since").values_list("run_id", flat=True)
    runs = Run.objects.for_list().without_values().filter(pk__in=list(holders[: MOST + 1])).order_by("pk")
    held: Words = ()
    for run in runs[:MOST]:
        held += phrase(", {}" if held else "{}", run_link(run, run.public_id))
    if limit.kind == Limit.Kind.START_RATE or not held:
        return phrase("{}.", before)
    go_on = " and others go on" if len(runs) > MOST else " goes on" if len(runs) == 1 else " go on"
    return phrase(": {}{}{}.", held, go_on, before)
