"""It has ended, or is about to: how, by whom and why."""

from collections.abc import Iterator

from django.urls import reverse

from approvals.models import Request
from orchestration.models import Deliverable, Run, Step
from orchestration.reasons import Part, Reason, Words, phrase
from orchestration.reasons.facts import LARGE, Facts, Group, by, more, name, quote, run_link
from orchestration.reasons.undoing import in_the_end
from ui.templatetags.ui import duration

NAMED = 3  # deliverables in the sentence
REMEDIES = {
    "temporary": "What it called may be back by now: run it again.",
    "permanent": "Correct what it was given, or the definition, and run it again.",
    "timeout": "Look whether what it waited for is up, or give the step a longer timeout, and run it again.",
    "worker_lost": "Look into the workers' logs: something ends them while this step runs.",
    "expression": "Correct the expression in the definition, and run it again.",
    "child_failed": "Open the run that it started to see why.",
    "child_rejected": "Open the run that it started to see who rejected it and why.",
    "child_canceled": "Open the run that it started to see who canceled it.",
}


def of(facts: Facts) -> Iterator[Reason]:
    run = facts.run
    if run.status == Run.Status.CANCELING:
        asked = facts.told("run.canceling")
        yield Reason("canceling", _canceling(facts), since=asked.at if asked else None)
    elif run.has_ended:
        words = {
            Run.Status.COMPLETED: _completed,
            Run.Status.FAILED: _failed,
            Run.Status.REJECTED: _rejected,
            Run.Status.CANCELED: lambda facts: phrase("Canceled{}", _wish(facts)),
        }[Run.Status(run.status)]
        yield Reason(run.status, words(facts) + in_the_end(facts), (run.error or {}).get("step"), since=run.ended_at)


def _completed(facts: Facts) -> Words:
    run = facts.run
    rows = Step.objects.shown().filter(run=run, status=Step.Status.FAILED).defer(*LARGE)
    failed = list(rows.order_by("key")[:3])
    but = (
        phrase(", although {} failed, as the definition allows{}", name(failed[0]), more(Group(failed, rows.count())))
        if failed
        else ()
    )
    made = [_deliverable(made) for made in _made(run)]
    report = phrase(f" It made {', '.join(['{}'] * len(made))}.", *made) if made else ()
    took = duration((run.ended_at - run.created_at).total_seconds()) if run.ended_at else ""
    return phrase("Completed after {}{}.{}", took, but, report)


def _made(run: Run) -> list[Deliverable]:
    """The newest version of each, without its content."""
    rows = Deliverable.objects.filter(run=run).order_by("name", "-version").distinct("name")
    return list(rows.only("public_id", "title", "name")[:NAMED])


def _deliverable(made: Deliverable) -> Part:
    return Part(made.title or made.name, "link", reverse("pages:deliverable", args=[made.public_id]))


def _failed(facts: Facts) -> Words:
    error = facts.run.error or {}
    rows = Step.objects.shown().filter(run=facts.run, name=error.get("step") or "").defer(*LARGE)
    step = rows.order_by("-round", "-key").first()
    is_its_time = error.get("step", "") is None  # the run's own
    where = phrase(" in {}", name(step)) if step else "" if is_its_time else " while its output was made"
    tries = f" after {step.attempt} attempts" if step and step.attempt > 1 else ""
    child = step and step.child_run_id and Run.objects.filter(pk=step.child_run_id).for_list().without_values().first()
    there = phrase(" {}", run_link(child, "Open that run")) if child else ()
    what = quote(error.get("message") or "no message")
    return phrase("Failed{}{}: {}. {}{}", where, tries, what, REMEDIES.get(error.get("class", ""), ""), there)


def _rejected(facts: Facts) -> Words:
    run = facts.run
    rows = Request.objects.filter(organization_id=run.organization_id).of_run(run.public_id).for_inbox()
    asked = rows.without_payloads().filter(choice="abort").order_by("-pk").first()
    if asked is None:
        return phrase("Rejected at a checkpoint.")
    who = by(asked.decided_by) or " when nobody answered in time"
    note = phrase(": {}", quote(asked.note)) if asked.note else ()
    return phrase("Rejected at {}{}{}.", Part(asked.step or "", "name"), who, note)


def _canceling(facts: Facts) -> Words:
    if facts.run.undoing:
        return phrase("Canceling. Asked for{}", _wish(facts))
    calls = facts.group(Step.Status.RUNNING).total
    under_way = f"{calls} call{'s' if calls != 1 else ''} under way may end; nothing new starts."
    return phrase("Canceling, {} Asked for{}", under_way, _wish(facts))


def _wish(facts: Facts) -> Words:
    """By whom and why it was canceled."""
    event = facts.told("run.canceling")
    said = (event and event.data) or {}
    who = phrase(" by {}", Part(said["by"], "name")) if said.get("by") else ()
    why = phrase(": {}", quote(said["reason"])) if said.get("reason") else ()
    return phrase("{}{}.", who, why)
