"""People are asked, by this run or by one that it started: who, what, until when."""

from collections.abc import Iterator

from django.urls import reverse

from approvals.models import Request, Status
from orchestration.models import Run, Step
from orchestration.reasons import Part, Reason, Words, phrase
from orchestration.reasons.facts import Facts, by, label, more, name, run_link


def of(facts: Facts) -> Iterator[Reason]:
    for asked in facts.questions:
        yield _asked(facts, asked)
    if facts.question_count > len(facts.questions):
        yield Reason("approval", phrase("And {} more questions.", str(facts.question_count - len(facts.questions))))
    group = facts.group(Step.Status.WAITING, "approval")
    if group.total and not facts.questions:
        step = group.steps[0]
        words = phrase("Waiting for an answer to {}{}.", name(step), more(group))
        yield Reason("approval", words, label(step), since=step.started_at)


def _asked(facts: Facts, asked: Request) -> Reason:
    run = _run_of(facts, asked)
    starter = facts.step_towards(run) if run != facts.run else None
    where = phrase(", for the run of {} that {} started", run_link(run), name(starter)) if starter else ()
    step = label(starter) if starter else asked.step
    url = reverse("pages:approval", args=[asked.public_id])
    if asked.status != Status.PENDING:
        taken = "was answered{}{}; a worker takes the answer up at once."
        words = phrase("{} " + taken, Part(asked.step or "Its budget", "name"), by(asked.decided_by), where)
        return Reason("answer", words, step, since=asked.decided_at, url=url)
    words = phrase(
        "Waiting {} for {} ({}) to approve {}{}{}.",
        facts.since(asked.created_at),
        asked.policy.who,
        Part(asked.policy.slug, "name"),
        phrase("“{}”", Part(asked.told_title, "link", url)),
        where,
        _due(facts, asked),
    )
    return Reason("approval", words, step, since=asked.created_at, until=asked.deadline_at, url=url)


def _run_of(facts: Facts, asked: Request) -> Run:
    return next((run for run in facts.below.values() if run.public_id == asked.run), facts.run)


def _due(facts: Facts, asked: Request) -> Words:
    if asked.deadline_at is None:
        return ()
    if asked.deadline_at <= facts.now:
        return phrase("; its time is over, and {} follows", asked.deadline_word)
    return phrase(", due in {}", facts.until(asked.deadline_at))
