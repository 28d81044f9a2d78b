"""The levers of people at live runs. Every door is made from this list."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import Case, F, When
from django.utils.dateparse import parse_datetime

from accounts.models import Member, Role
from orchestration import previews
from orchestration.engine import budgets, pins
from orchestration.engine.answers import cancel, resolve
from orchestration.engine.levers import adjusting, asking, by_hand, forking, keeping, moving, pausing, retrying
from orchestration.exceptions import InvalidInput, NotPinned, Pinned, Refused
from orchestration.lever import Lever, nothing
from orchestration.models import Run, Step

GOES_ON = frozenset(Run.Status) - set(Run.ENDED)
ENDED = frozenset(Run.ENDED)
UNDO = ":undo"  # names of what undoes end so


def _retry_step(run: Run, step: Step, *, by: Member | None, reason: str) -> None:
    retrying.retry(run, by=by, reason=reason, steps=[step.name])


def _set_deadline(run: Run, *, by: Member | None, reason: str, deadline_at: str | None) -> None:
    adjusting.set_deadline(run, by=by, reason=reason, deadline_at=moment(deadline_at))


def _set_due(run: Run, step: Step, *, by: Member | None, deadline_at: str | None, **given: Any) -> None:
    asking.set_due(run, step, by=by, deadline_at=moment(deadline_at), **given)


def moment(text: str | None) -> datetime | None:
    """Of a field `deadline_at`. Raises InvalidInput."""
    try:
        found = parse_datetime(text) if text else None
    except ValueError:
        found = None
    if text and (found is None or found.tzinfo is None):
        raise InvalidInput([{"pointer": "/deadline_at", "message": "This is no time with its offset from UTC."}])
    return found


def _resolve(run: Run, step: Step, *, by: Member, outcome: str, reason: str, output: Any = None) -> None:
    resolve(run, step, by=by, outcome=outcome, output=output, reason=reason)


def _none_failed(run: Run, steps: Collection[Step] | None) -> str | None:
    return None if previews.some_failed(run, steps) else "No step of the run has failed."


LEVERS = (
    Lever(
        "cancel",
        "Calls under way may end, nothing more starts, its open questions are withdrawn, the runs it started are"
        " canceled too, and what can be undone is. It cannot be resumed.",
        cancel,
        GOES_ON,
        preview=previews.cancel,
        icon="circle-stop",
        done="Canceled. Calls under way may end, nothing new starts but what undoes.",
        is_grave=True,
        is_first=True,
        idle=frozenset({Run.Status.CANCELING}),
    ),
    Lever(
        "pause",
        "Nothing more starts, here and in the runs it started; calls under way end, and times go on.",
        pausing.pause,
        frozenset({Run.Status.RUNNING, Run.Status.WAITING}),
        preview=previews.pause,
        icon="circle-pause",
        done="Paused. Calls under way end, nothing new starts.",
        is_first=True,
    ),
    Lever(
        "resume",
        "It goes on where it was paused.",
        pausing.resume,
        frozenset({Run.Status.PAUSED}),
        unless=pausing.unresumable,
        icon="play",
        done="Resumed.",
        is_first=True,
    ),
    Lever(
        "retry",
        "The steps that failed are tried again, with what was skipped for them; all others keep what they did.",
        retrying.retry,
        GOES_ON - {Run.Status.CANCELING, Run.Status.PLANNING} | {Run.Status.FAILED},
        fields={
            "steps": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "By their names, one a line. All that failed, if left out.",
            }
        },
        among=_none_failed,
        preview=previews.retry,
        icon="rotate-cw",
        done="The failed steps are tried again.",
        is_first=True,
    ),
    Lever(
        "priority",
        "What is ready of it comes before what has a lower one.",
        adjusting.set_priority,
        GOES_ON,
        fields={"priority": {"type": "integer", "minimum": -100, "maximum": 100}},
        required=("priority",),
        preview=previews.priority,
        icon="arrow-up",
        done="Its priority is changed.",
    ),
    Lever(
        "budget",
        "What it may spend, with all that it started; what was paused for that goes on.",
        budgets.set_limits,
        GOES_ON,
        fields={
            "usd": {"type": "number", "title": "US dollars", "exclusiveMinimum": 0, "maximum": budgets.MOST["usd"]},
            "tokens": {"type": "integer", "title": "Tokens", "minimum": 1, "maximum": budgets.MOST["tokens"]},
            "runs": {"type": "integer", "title": "Runs below it", "minimum": 1, "maximum": budgets.MOST["runs"]},
        },
        unless=budgets.unlimited,
        icon="clock",
        done="Taken up.",
    ),
    Lever(
        "deadline",
        "It fails if it has not ended by then.",
        _set_deadline,
        GOES_ON,
        fields={
            "deadline_at": {
                "type": ["string", "null"],
                "format": "date-time",
                "title": "It has to have ended by",
                "description": "A time with its offset from UTC (RFC 3339); null, or nothing, for no such time.",
            }
        },
        required=("deadline_at",),
        preview=previews.deadline,
        icon="clock",
        done="Its deadline is changed.",
    ),
    Lever(
        "move",
        "It goes on by a newer version of its definition, if what it has done fits that; open questions are put anew.",
        moving.move,
        frozenset({Run.Status.WAITING, Run.Status.PAUSED}),
        fields={"version": {"type": "integer", "minimum": 1, "description": "The newest, if left out."}},
        role=Role.BUILDER,
        unless=moving.nothing_newer,
        label="Move to a newer version",
        icon="history",
        done="It goes on by the other version.",
    ),
    Lever(
        "archive",
        "It is in no list unless archived ones are asked for, with all that it started. Nothing is lost.",
        keeping.archive,
        ENDED,
        unless=keeping.unarchivable,
        icon="inbox",
        done="Archived: it is in no list unless archived ones are asked for.",
    ),
    Lever(
        "restore",
        "It is in lists again, with all that it started.",
        keeping.restore,
        ENDED,
        unless=keeping.unrestorable,
        icon="history",
        done="Restored: it is in lists again.",
    ),
    Lever(
        "delete",
        "It goes for good, with all that it started.",
        keeping.delete,
        ENDED,
        fields={"digest": {"type": "string", "description": "Of what is to go, as it was shown."}},
        required=("digest",),
        role=Role.ADMIN,
        unless=keeping.undeletable,
        preview=previews.delete,
        seen={"digest": lambda run: keeping.deletion_of(run).digest},
        icon="x",
        done="Deleted for good.",
        is_grave=True,
    ),
    Lever(
        "pin",
        "It is kept however old it gets, with the runs it started and that started it.",
        pins.pin,
        frozenset(Run.Status),
        unless=lambda run: Pinned.__doc__ if run.pinned_at else None,
        icon="shield-check",
        done="Pinned: it is kept, with the runs it started and that started it.",
    ),
    Lever(
        "unpin",
        "It goes when its time comes, as other runs do.",
        pins.unpin,
        frozenset(Run.Status),
        unless=lambda run: None if run.pinned_at else NotPinned.__doc__,
        icon="x",
        done="No longer pinned: it goes when its time comes.",
    ),
    Lever(
        "resolve",
        "Contact was lost in the middle of a call that may not be repeated. Find out on the other side, then say what"
        " became of it.",
        _resolve,
        frozenset({Step.Status.UNCERTAIN}),
        of="step",
        fields={
            "outcome": {
                "enum": ["completed", "failed", "again"],
                "title": "What became of it?",
                "description": "completed: it happened, with the output below. failed: it did not happen, or went"
                " wrong. again: it did not happen; run it again.",
            },
            "output": {"title": "Output as JSON", "description": "Of a call that completed."},
        },
        required=("outcome",),
        preview=previews.resolve,
        label="Say what happened",
        icon="circle-question-mark",
        done="Taken up.",
        is_first=True,
    ),
    Lever(
        "retry",
        "It is tried again, with what was skipped for it; all others keep what they did.",
        _retry_step,
        frozenset({Step.Status.FAILED}),
        of="step",
        preview=previews.retry,
        icon="rotate-cw",
        done="It is tried again.",
        is_first=True,
    ),
    Lever(
        "fork",
        "Another run begins from here, perhaps with other input; what was done before is not done again.",
        forking.fork,
        frozenset(Step.Status),
        of="step",
        fields={"input": {"description": "Of the new run; that of this one, if left out."}},
        filled={"input": lambda step, member: previews.input_of(step.run, member)},
        among=lambda step, steps: forking.Fork(step.run, step, steps).refusal(),
        preview=lambda run, step, given: forking.preview(run, step).lines(),
        label="Fork from here",
        icon="workflow",
        done="This run begins there.",
    ),
    Lever(
        "due",
        "Its question is to be answered by another time.",
        _set_due,
        frozenset({Step.Status.WAITING}),
        of="step",
        fields={
            "deadline_at": {
                "type": ["string", "null"],
                "format": "date-time",
                "title": "To be answered by",
                "description": "A time with its offset from UTC (RFC 3339); null, or nothing, for no such time.",
            },
            "then": {
                "type": "string",
                "title": "And if nobody does",
                "description": "One of its answers; the one it has, if left out.",
                "maxLength": 100,
            },
        },
        required=("deadline_at",),
        unless=asking.nobody_asked,
        preview=previews.asked,
        label="Change the due date",
        icon="clock",
        done="Its due date is changed.",
    ),
    Lever(
        "concurrency",
        "So many of its items are at work at once from now on. More are let go at once; what is at work goes on.",
        adjusting.set_concurrency,
        frozenset({Step.Status.WAITING}),
        of="step",
        fields={"concurrency": {"type": "integer", "title": "Items at once", "minimum": 1, "maximum": adjusting.MOST}},
        required=("concurrency",),
        unless=adjusting.all_begun,
        preview=previews.window,
        label="Change how many items at once",
        icon="workflow",
        done="So many of its items are at work at once from now on.",
    ),
    Lever(
        "reviewers",
        "Its question is put to those whom another policy names.",
        asking.set_reviewers,
        frozenset({Step.Status.WAITING}),
        of="step",
        fields={"policy": {"type": "string", "maxLength": 50, "description": "The name of a policy."}},
        required=("policy",),
        role=Role.ADMIN,
        unless=asking.nobody_asked,
        preview=previews.asked,
        label="Ask others",
        icon="users",
        done="Others are asked.",
    ),
    Lever(
        "skip",
        "It ends as skipped, and so do steps that need it.",
        by_hand.skip,
        by_hand.IDLE,
        of="step",
        unless=by_hand.in_line,
        preview=previews.skip,
        icon="skip-forward",
        done="Skipped.",
        is_grave=True,
    ),
    Lever(
        "output",
        "It is completed with this output, as if its agent had given it.",
        by_hand.set_output,
        by_hand.IDLE | {Step.Status.FAILED},
        of="step",
        fields={"output": {"title": "Output as JSON"}},
        required=("output",),
        unless=by_hand.in_line,
        preview=previews.output,
        label="Set its output",
        icon="pencil",
        done="Completed with this output.",
    ),
)
BY_NAME = {(lever.of, lever.name): lever for lever in LEVERS}


def step_of(run: Run, name: str, **place: int) -> Step | None:
    """The newest row of a step; of an item or a pass with its `index`; in an earlier `round`."""
    return steps_of([run], name, **place).get(run.pk)


def steps_of(runs: Collection[Run], name: str, **place: int) -> dict[int, Step]:
    """The row that `step_of` gives, by the run's key, of those that have it; each with its run at hand."""
    rows = Step.objects.shown().filter(run_id__in=[run.pk for run in runs], name=name, **place)
    if name.endswith(UNDO):  # of several the one whose result is unknown
        unknown = Case(When(status=Step.Status.UNCERTAIN, then=F("key")))
        rows = rows.order_by("run_id", unknown.asc(nulls_last=True), "-key")
    else:
        rows = rows.filter(head__isnull="index" not in place).order_by("run_id", "-key")
    found = {step.run_id: step for step in rows.distinct("run_id")}
    for run in runs:
        if run.pk in found:
            found[run.pk].run = run
    return found


STEP = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "title": "Step",
    "description": "By its name; in each run the newest of that name.",
}
# Of steps, those that write into the run's audit: what a worker had done before it died is found there, and not done
# again. Of what failed, a run's own lever tries steps again by their names.
AT_MANY = ("resolve", "fork", "concurrency", "skip", "output")


def at_many(lever: Lever) -> Lever:
    """A step's lever as one of runs: the step is told by its name."""

    def act(run: Run, *, by: Member | None, step: str, **given: Any) -> Any:
        found = step_of(run, step)
        if found is None:
            raise Refused(f"The run has no step {step}.")
        return lever.pull(run, found, given, by=by)

    def against(runs: Collection[Run], given: Mapping[str, Any]) -> dict[int, str]:
        if "step" not in given:
            return {}
        found = steps_of(runs, given["step"])
        none = f"The run has no step {given['step']}."
        words = {run.pk: lever.refusal(found[run.pk]) if run.pk in found else none for run in runs}
        return {pk: said for pk, said in words.items() if said is not None}

    return replace(
        lever,
        name=f"step-{lever.name}",
        does=f"In each run, at the step of this name: {lever.does}",
        act=act,
        when=frozenset(Run.Status),
        of="run",
        fields={"step": STEP, **lever.fields},
        required=("step", *lever.required),
        unless=nothing,
        among=nothing,
        against=against,
        filled={},
        label=f"Step: {lever.words[0].lower()}{lever.words[1:]}",
        is_first=False,
    )
