"""Why a run is where it is, in one sentence for people; times in it go on counting in static/js/run.js."""

from collections.abc import Iterable
from datetime import datetime

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from approvals.models import Request, Status
from orchestration.models import Deliverable, Run, Step
from orchestration.run_rows import RunRows
from ui.templatetags.ui import counted, duration

AT_ONCE_SECONDS = 5.0  # so long a step may be ready before anyone asks where the workers are
LONGEST_QUOTE = 300
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
EMPTY = SafeString("")


def explain(rows: RunRows) -> SafeString:
    run = rows.run
    ended = {
        Run.Status.COMPLETED: _completed,
        Run.Status.FAILED: _failed,
        Run.Status.REJECTED: _rejected,
        Run.Status.CANCELED: _canceled,
        Run.Status.CANCELING: _canceling,
    }
    if run.status in ended:
        return ended[Run.Status(run.status)](rows)
    if run.status == Run.Status.PAUSED:
        return SafeString("Paused: nothing starts until someone resumes it; calls under way may end.")
    return _moving(rows)


def _moving(rows: RunRows) -> SafeString:
    """The most urgent thing that holds it, and how many more do."""
    of = {status: [step for step in rows.steps if step.status == status] for status in Step.Status}
    waiting = of[Step.Status.WAITING]
    held = [
        (of[Step.Status.UNCERTAIN], _uncertain),
        (of[Step.Status.RUNNING], _running),
        (_stale(rows, of[Step.Status.READY]), _not_taken),
        ([step for step in waiting if step.waits_for == "approval"], _asking),
        ([step for step in waiting if step.waits_for == "retry"], _retrying),
        ([step for step in waiting if step.waits_for == "child"], _parent),
        (waiting, _waiting),
        (of[Step.Status.READY], _about_to_start),
    ]
    for steps, words in held:
        if steps:
            return words(rows, steps)
    return SafeString("The engine is at work on it; its steps have all ended.")


def _uncertain(rows: RunRows, steps: list[Step]) -> SafeString:
    return format_html(
        "Nobody knows whether {} happened: contact was lost during its call, which may not be repeated."
        " Say what became of it{}.",
        _name(steps[0]),
        _more(steps),
    )


def _running(rows: RunRows, steps: list[Step]) -> SafeString:
    step = min(steps, key=lambda step: step.started_at or rows.now)
    worker = rows.workers.get(step.owner or 0)
    where = format_html(" on worker {}", f"{worker.host.split()[0]}:{worker.pid}") if worker else EMPTY
    tries = format_html(", attempt {} of {}", step.attempt, rows.attempts_of(step)) if step.attempt > 1 else EMPTY
    return format_html(
        "Running {}{} for {}{}{}.", _name(step), tries, _since(rows, step.started_at), where, _more(steps)
    )


def _stale(rows: RunRows, steps: list[Step]) -> list[Step]:
    return [
        step for step in steps if (rows.now - rows.ready_at.get(step.key, rows.now)).total_seconds() > AT_ONCE_SECONDS
    ]


def _not_taken(rows: RunRows, steps: list[Step]) -> SafeString:
    step = steps[0]
    why = (
        format_html("are workers of queue {} running, or all busy?", step.queue)
        if rows.some_worker_lives
        else "no worker is running; start one."
    )
    since = _since(rows, rows.ready_at.get(step.key))
    return format_html(
        "{} has been ready for {}{}, and no worker has taken it: {}", _name(step), since, _more(steps), why
    )


def _about_to_start(rows: RunRows, steps: list[Step]) -> SafeString:
    return format_html("{} is ready{}; a worker takes it up at once.", _name(steps[0]), _more(steps))


def _asking(rows: RunRows, steps: list[Step]) -> SafeString:
    step = steps[0]
    asked = rows.question_of(step)
    if asked is None:
        return format_html("Waiting for an answer to {}{}.", _name(step), _more(steps))
    if asked.status != Status.PENDING:
        return format_html("{} was answered{}; a worker takes the answer up at once.", _name(step), _by(asked))
    due = format_html(", due in {}", _until(rows, asked.deadline_at)) if asked.deadline_at else EMPTY
    if asked.deadline_at and asked.deadline_at <= rows.now:
        due = format_html("; its time is over, and {} follows", asked.deadline_choice)
    return format_html(
        "Waiting {} for {} to approve “{}”{}{}.",
        _since(rows, asked.created_at),
        _strong(asked.policy.slug),
        _strong(asked.title),
        due,
        _more(steps),
    )


def _retrying(rows: RunRows, steps: list[Step]) -> SafeString:
    step = min(steps, key=lambda step: step.wake_at or rows.now)
    when = format_html("in {}", _until(rows, step.wake_at)) if step.wake_at and step.wake_at > rows.now else "now"
    return format_html(
        "Retrying {}: attempt {} of {} {}{}{}.",
        _name(step),
        step.attempt + 1,
        rows.attempts_of(step),
        when,
        format_html(", after {}", _quote(step.error["message"])) if step.error else EMPTY,
        _more(steps),
    )


def _parent(rows: RunRows, steps: list[Step]) -> SafeString:
    step = steps[0]
    child = rows.relatives.get(step.child_run_id or 0)
    if child is None:
        return format_html(
            "Waiting {} for the run that {} started{}.", _since(rows, step.started_at), _name(step), _more(steps)
        )
    return format_html(
        "Waiting {} for the run of {} that {} started, which is {}{}.",
        _since(rows, step.started_at),
        _link(child),
        _name(step),
        child.status,
        _more(steps),
    )


def _waiting(rows: RunRows, steps: list[Step]) -> SafeString:
    step = steps[0]
    until = format_html(", at most {} more", _until(rows, step.wake_at)) if step.wake_at else EMPTY
    return format_html("{} waits for {}{}{}.", _name(step), step.waits_for or "something", until, _more(steps))


def _completed(rows: RunRows) -> SafeString:
    run = rows.run
    failed = [step for step in rows.steps if step.status == Step.Status.FAILED]
    but = (
        format_html(", although {} failed, as the definition allows{}", _name(failed[0]), _more(failed))
        if failed
        else EMPTY
    )
    made = [_deliverable(deliverable) for deliverable in rows.made[:NAMED]]
    report = format_html(" It made {}.", format_html_join(", ", "{}", ((words,) for words in made))) if made else EMPTY
    return format_html("Completed after {}{}.{}", _took(run), but, report)


def _failed(rows: RunRows) -> SafeString:
    error = rows.run.error or {}
    step = rows.named(error.get("step") or "")
    where = format_html(" in {}", _name(step)) if step else SafeString(" while its output was made")
    tries = format_html(" after {} attempts", step.attempt) if step and step.attempt > 1 else EMPTY
    what = _quote(error.get("message") or "no message")
    child = rows.relatives.get(step.child_run_id or 0) if step else None
    there = format_html(" {}", _link(child, "Open that run")) if child else EMPTY
    return format_html("Failed{}{}: {}. {}{}", where, tries, what, REMEDIES.get(error.get("class", ""), ""), there)


def _rejected(rows: RunRows) -> SafeString:
    asked = next((asked for asked in rows.questions if asked.choice == "abort"), None)
    if asked is None:
        return SafeString("Rejected at a checkpoint.")
    note = format_html(": {}", _quote(asked.note)) if asked.note else EMPTY
    by = _by(asked) if asked.decided_by else SafeString(" when nobody answered in time")
    return format_html("Rejected at {}{}{}.", _strong(asked.step or ""), by, note)


def _canceled(rows: RunRows) -> SafeString:
    return format_html("Canceled{}", _wish(rows))


def _canceling(rows: RunRows) -> SafeString:
    under_way = sum(step.status == Step.Status.RUNNING for step in rows.steps)
    calls = f"{under_way} call{'s' if under_way != 1 else ''} under way may end; nothing new starts."
    return format_html("Canceling, {} {}", calls, format_html("Asked for{}", _wish(rows)))


def _wish(rows: RunRows) -> SafeString:
    """By whom and why; for a rejected run, that too."""
    said = rows.cancel_wish
    by = format_html(" by {}", _strong(said["by"])) if said.get("by") else EMPTY
    reason = format_html(": {}", _quote(said["reason"])) if said.get("reason") else EMPTY
    return format_html("{}{}.", by, reason)


# --- words


def _name(step: Step) -> SafeString:
    return _strong(step.name if step.index is None else f"{step.name} {step.index}")


def _strong(words: str) -> SafeString:
    return format_html("<b><bdi>{}</bdi></b>", words)


def _quote(words: str) -> SafeString:
    words = words.strip().rstrip(".")
    short = words if len(words) <= LONGEST_QUOTE else words[:LONGEST_QUOTE] + "…"
    return format_html("“<bdi>{}</bdi>”", short)


def _by(asked: Request) -> SafeString:
    return format_html(" by {}", _strong(asked.decided_by.name)) if asked.decided_by else EMPTY


def _more(steps: Iterable[Step]) -> SafeString:
    """The others, named while they are few."""
    _, *others = steps
    if not others:
        return EMPTY
    if len(others) > 2:
        return format_html(" (and {} more)", len(others))
    return format_html(" (and {})", format_html_join(" and ", "{}", ((_name(step),) for step in others)))


def _link(run: Run, words: str = "") -> SafeString:
    here = words or run.definition_version.definition.slug
    return format_html('<a href="{}"><bdi>{}</bdi></a>', reverse("pages:run", args=[run.public_id]), here)


def _deliverable(made: Deliverable) -> SafeString:
    return format_html(
        '<a href="{}"><bdi>{}</bdi></a>', reverse("pages:deliverable", args=[made.public_id]), made.title or made.name
    )


def _took(run: Run) -> str:
    return duration((run.ended_at - run.created_at).total_seconds()) if run.ended_at else ""


def _since(rows: RunRows, at: datetime | None) -> SafeString:
    at = at or rows.now
    words = counted((rows.now - at).total_seconds())
    return format_html('<span class="nowrap" data-since="{}">{}</span>', at.isoformat(), words)


def _until(rows: RunRows, at: datetime | None) -> SafeString:
    at = at or rows.now
    words = counted((at - rows.now).total_seconds())
    return format_html('<span class="nowrap" data-until="{}">{}</span>', at.isoformat(), words)
