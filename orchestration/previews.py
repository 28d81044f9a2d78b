"""What a lever would do to a run, line by line, before it is pulled."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format

from accounts.models import Member
from approvals.models import Policy
from orchestration.engine.connection import rows
from orchestration.engine.levers.adjusting import at_once
from orchestration.engine.levers.asking import question_of
from orchestration.engine.levers.keeping import deletion_of
from orchestration.engine.levers.pausing import BELOW
from orchestration.lever import Filled
from orchestration.models import Run, Step
from orchestration.run_rows import outline_of
from orchestration.undo_preview import undo_lines

SHOWN = 20  # names in a line
LONGEST_FILLED = 200_000  # signs of a run's input; a longer one is not filled in


def cancel(run: Run, _: None, given: Mapping[str, Any]) -> list[str]:
    asked = run.steps.filter(status=Step.Status.WAITING, waits_for="approval").count()
    found = [*_under_way(run), _counted(asked, "open question is", "open questions are", "withdrawn")]
    return [line for line in (*found, _below(run, "canceled"), *undo_lines(run)) if line]


def resolve(run: Run, step: Step, given: Mapping[str, Any]) -> list[str]:
    if step.undoes is None:
        return []
    return [
        "It was to undo what this run did, and that could not be done here. completed: it is undone, or there was"
        " nothing to undo. again: try again to undo it. failed: it stays as it is, go on without it."
    ]


def pause(run: Run, _: None, given: Mapping[str, Any]) -> list[str]:
    return [line for line in (*_under_way(run), _below(run, "paused")) if line]


def retry(run: Run, step: Step | None, given: Mapping[str, Any]) -> list[str]:
    newest = _newest(run)
    failed = [name for name, status in newest.items() if name and status == Step.Status.FAILED]
    names = [step.name] if step else given.get("steps") or failed
    again = [
        name
        for name in behind(run, names)
        if newest.get(name) in (Step.Status.FAILED, Step.Status.SKIPPED) and name not in names
    ]
    return [line for line in (_named("Tried again", names), _named("And what was left for them", again)) if line]


def skip(run: Run, step: Step, given: Mapping[str, Any]) -> list[str]:
    line = _named("Steps behind it", behind(run, [step.name]))
    asks = step.status == Step.Status.WAITING and step.waits_for == "approval"
    return [each for each in (line, "Its question is withdrawn." if asks else "") if each]


def output(run: Run, step: Step, given: Mapping[str, Any]) -> list[str]:
    line = _named("Steps that may go on with it", behind(run, [step.name]))
    return [line] if line else []


def priority(run: Run, _: None, given: Mapping[str, Any]) -> list[str]:
    return [f"It is {run.priority} now."]


def deadline(run: Run, _: None, given: Mapping[str, Any]) -> list[str]:
    if run.deadline_at is None:
        return ["It has none now."]
    return [f"It is {_when(run.deadline_at)} now."]


def window(run: Run, step: Step, given: Mapping[str, Any]) -> list[str]:
    most = at_once(step)
    found = Counter(Step.objects.items_of(step).values_list("status", flat=True))
    ended = sum(found[status] for status in Step.ENDED)
    blocked = found[Step.Status.BLOCKED]
    at_work = found.total() - ended - blocked
    return [
        f"{most or 'All'} at once now: {ended:,} of {found.total():,} items have ended, {at_work:,} are at work,"
        f" {blocked:,} wait for their turn."
    ]


def asked(run: Run, step: Step, given: Mapping[str, Any]) -> list[str]:
    question = question_of(step)
    if question is None:
        return []
    due = f"Due {_when(question.deadline_at)}, then {question.deadline_word}." if question.deadline_at else "Not due."
    answers = f"Its answers: {', '.join(question.word_of(choice) for choice in question.choices)}."
    policies = Policy.objects.filter(organization_id=run.organization_id).values_list("slug", flat=True)
    asks = f"Asked are those of {question.policy.slug}; policies here: {', '.join(policies[:SHOWN])}."
    return [due, answers, asks]


def delete(run: Run, _: None, given: Mapping[str, Any]) -> list[str]:
    found = deletion_of(run)
    takes = [f"{what.capitalize()}: {count}." for what, count in found.takes.items()]
    return [*takes, *(f"What stays, as evidence: {count} {what}." for what, count in found.keeps.items())]


def input_of(run: Run, member: Member) -> Filled:
    """What the run was given, for a field where it may be changed; of one that hides it, nothing."""
    if not run.payload_visible_to(member):
        return Filled(None, "What this run was given is hidden from you. Left empty, it stays as it was.")
    if len(json.dumps(run.input, ensure_ascii=False)) > LONGEST_FILLED:
        return Filled(None, "What this run was given is too large to be filled in. Left empty, it stays as it was.")
    return Filled(run.input, "As JSON: what this run was given, for you to change. Left empty, it stays as it was.")


def some_failed(run: Run, steps: Collection[Step] | None = None) -> bool:
    """Whether a step of any round has: the newest are looked for when it is pulled."""
    if steps is not None and run.status != Run.Status.FAILED:  # else its own output may have, which is not among them
        return any(step.status == Step.Status.FAILED and step.head is None and step.undoes is None for step in steps)
    return run.steps.filter(status=Step.Status.FAILED, head=None, undoes=None).exclude(kind="start").exists()


def behind(run: Run, names: Collection[str]) -> list[str]:
    """The steps that need these, at once or through others, in the definition's order."""
    found = set(names)
    steps = [step for _, step in sorted(outline_of(run.definition_version_id).steps.items())]
    while more := {step.name for step in steps if step.name not in found and found.intersection(step.needs)}:
        found |= more
    return [step.name for step in steps if step.name in found and step.name not in names]


def _newest(run: Run) -> dict[str, str]:
    """Statuses of the newest rounds, by name; "" is the run's own output."""
    found = run.steps.filter(head=None, undoes=None).exclude(kind="start").order_by("position", "-key")
    return dict(found.distinct("position").values_list("name", "status"))


def _under_way(run: Run) -> list[str]:
    calls = run.steps.filter(status=Step.Status.RUNNING).count()
    return [f"{calls} call{'s' * (calls != 1)} under way may end."] if calls else []


def _below(run: Run, becomes: str) -> str:
    return _counted(len(rows(BELOW, [run.pk])), "run that it started is", "runs that it started are", becomes)


def _counted(count: int, one: str, many: str, becomes: str) -> str:
    return f"{count} {one if count == 1 else many} {becomes}." if count else ""


def _when(at: datetime) -> str:
    return date_format(timezone.localtime(at), "j M Y H:i T")


def _named(words: str, names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:SHOWN])
    left = len(names) - SHOWN
    return f"{words}: {shown}{f' and {left} more' if left > 0 else ''}." if names else ""
