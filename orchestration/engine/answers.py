"""Takes up what people said: one guarded move of a waiting step each, so that twice does nothing."""

import json
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from accounts import audit
from accounts.models import Member
from approvals.models import Request
from orchestration.engine import budgets, failpoints
from orchestration.engine.children import tell_parents
from orchestration.engine.connection import value
from orchestration.engine.hints import hints
from orchestration.engine.outcomes import Outcome, encode
from orchestration.engine.plans import plan_of
from orchestration.engine.settling import each, finished, output_errors, settle
from orchestration.engine.stopping import stop
from orchestration.exceptions import InvalidInput, NotUncertain, RunEnded
from orchestration.models import Run, Step

TURNS = 20  # in which parents are told for one who waits for the answer; sweeps go on with it


def take_up_decisions() -> int:
    """Apply decided and expired requests to the steps that wait for them; how many."""
    return each(Request.objects.unacknowledged(), _take_up)


def _take_up(key: int) -> None:
    request = Request.objects.for_inbox().get(pk=key)
    TAKE_UP[request.context.get("kind", "gate")](request)
    failpoints.reach("answer")
    request.acknowledge()


def _of_gate(request: Request) -> None:
    asked = request.context
    step = (asked["run_id"], asked["key"], asked["fence"])
    by = request.decided_by.name if request.decided_by else None
    decision = {
        "choice": request.choice,
        "note": request.note,
        "form": None,
        "by": by,
        "request": request.public_id,
        "choices": request.choices,
        "digest": request.answer_digest,
    }
    note = {"request": request.public_id, "choice": request.choice, "by": by, "note": request.note}
    if request.choice == "continue":
        passed = Outcome("completed", output=request.answer, fields={"decision": decision, "note": note})
        settle(step, "waiting", finished(step, passed))
    elif request.choice == "retry":
        _open_round(step, decision, note)
    else:
        _abort(step, decision, note)


def _open_round(step: tuple[int, int, int], decision: dict[str, Any], note: dict[str, Any]) -> None:
    run, key, fence = step
    gate = Step.objects.filter(run_id=run, key=key).values_list("position", "run__definition_version_id").first()
    if gate is None:
        return
    plan = plan_of(gate[1])
    approval = plan.steps[gate[0]].approval or {}
    positions = [plan.position_of[name] for name in approval["retry"]] + [gate[0]]
    feedback = {name: decision[name] for name in ("note", "form", "by")}
    with transaction.atomic():
        opened = value(
            "select engine_reopen_v2(%s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb)",
            [run, key, fence, positions, json.dumps(decision), json.dumps(note), json.dumps(feedback)],
        )
        if opened:  # under the run's lock, so before the new round asks
            withdraw_unasked(run)
        failpoints.reach("round")
    hints.changed([run])
    for queue in settings.WORKER_QUEUES:
        hints.work(queue)


def _of_confirmation(request: Request) -> None:
    """Whether a forked run does again what may not simply be repeated."""
    asked = request.context
    place = (asked["run_id"], asked["key"], asked["fence"])
    by = request.decided_by.name if request.decided_by else None
    note = {"request": request.public_id, "choice": request.choice, "by": by, "note": request.note}
    if request.choice == "continue":
        # The claim that asked was no try.
        confirmed = Step.objects.filter(run_id=place[0], key=place[1], fence=place[2], status="waiting", confirm=True)
        settle(
            place,
            "waiting",
            Outcome("ready", fields={"note": note}),
            only_if=lambda: bool(confirmed.update(confirm=False, attempt=F("attempt") - 1)),
        )
    else:
        _reject(place, Outcome("skipped", fields={"note": note}), note)


def _abort(step: tuple[int, int, int], decision: dict[str, Any], note: dict[str, Any]) -> None:
    _reject(step, Outcome("completed", fields={"decision": decision, "note": note}), note)


def _reject(step: tuple[int, int, int], outcome: Outcome, note: dict[str, Any]) -> None:
    gate = f'{{"n":0,{encode(step, "waiting", outcome).text}}}'
    stop(step[0], Run.Status.REJECTED, note, gate)


def cancel(run: Run, *, by: Member | None, reason: str) -> str:
    """Cancel a run; its status afterwards. Again while it is canceling, or takes back what it did: nothing
    changes. Raises RunEnded."""
    note = {"reason": reason, "by": by.name if by else None}
    with transaction.atomic():
        status = stop(run.pk, Run.Status.CANCELED, note)
        if status is None:
            run.refresh_from_db(fields=["status"])
            raise RunEnded(run.status)
        audit.record(organization=run.organization, actor=by, action="run.cancel", target=run.public_id, data=note)
    failpoints.reach("canceled")
    tidy_up()
    for _ in range(TURNS):  # leaves end first
        if not tell_parents() or run.has_ended:
            break
        run.refresh_from_db(fields=["status", "ended_at"])
    return str(Run.objects.values_list("status", flat=True).get(pk=run.pk))


def tidy_up() -> int:
    """Withdraw canceled steps' requests, and cancel children of ended steps and canceled runs: after that commit, never
    inside it.

    How many.
    """
    return each(Run.objects.filter(tidy=True), _tidy_up)


def _tidy_up(key: int) -> None:
    run = Run.objects.only("seq", "status").get(pk=key)
    withdraw_unasked(run.pk)
    left = Run.objects.filter(parent_run_id=run.pk, ended_at=None, stays=False)
    if run.status != Run.Status.CANCELING:  # there, all of them
        over = Q(status__in=Step.ENDED) | Q(kind="wait") & ~Q(status=Step.Status.WAITING)  # something else came first
        left = left.filter(parent_key__in=Step.objects.filter(over, run=run).values("key"))
    for child in left:
        stop(child.pk, Run.Status.CANCELED, {"reason": "the run that started it was canceled"})
    failpoints.reach("tidied")
    # Not if it moved since it was read: what else has been canceled then is for the next sweep.
    Run.objects.filter(pk=run.pk, tidy=True, seq=run.seq).update(tidy=False)


def withdraw_unasked(run: int) -> None:
    """Questions of this run that no step waits for any more: it was canceled, or a newer round asks anew."""
    public_id = Run.objects.values_list("public_id", flat=True).get(pk=run)
    pending = Request.objects.pending().filter(context__run=public_id, context__has_key="key")
    asked = list(pending.values_list("pk", "context__key", "context__fence"))
    # Read after the questions: one and its waiting step are of the same commit.
    waiting = Step.objects.filter(run_id=run, status=Step.Status.WAITING, waits_for="approval")
    places = set(waiting.values_list("key", "fence"))
    Request.withdraw([pk for pk, key, fence in asked if (key, fence) not in places])


def resolve(run: Run, step: Step, *, by: Member, outcome: str, output: Any, reason: str) -> None:
    """A person says what became of an uncertain step: completed, failed, or again (it did not happen; run it again).

    Raises NotUncertain; InvalidInput, if `output` is not what the step's agent may answer.
    """
    if step.status != Step.Status.UNCERTAIN:
        raise NotUncertain(step.name, step.status)
    if outcome == "completed":
        errors = output_errors(step, output)
    else:
        errors = [] if output is None else [{"pointer": "/output", "message": f"There is no output with {outcome}."}]
    if errors:
        raise InvalidInput(errors)
    note = {"reason": reason, "by": by.name}
    found = {
        "completed": Outcome("completed", output=output, fields={"note": note}),
        "failed": Outcome(
            "failed",
            fields={
                "note": note,
                "error": {"class": "permanent", "message": reason or f"{by.name} says that it failed."},
            },
        ),
        "again": Outcome("ready", fields={"note": note}),
    }[outcome]
    place = (step.run_id, step.key, step.fence)
    if outcome == "completed":
        found = finished(place, found)
    elif step.undo:  # it is known now that there is nothing to undo
        found = replace(found, fields={**found.fields, "more": {"undo": {"reversible": False}}})
    with transaction.atomic():
        if not settle(place, "uncertain", found):
            raise NotUncertain(step.name, Step.objects.get(run=run, key=step.key).status)
        audit.record(
            organization=run.organization,
            actor=by,
            action="step.resolve",
            target=run.public_id,
            data={"step": step.name, "outcome": outcome, **note},
        )
        failpoints.reach("resolving")


# By what asked: `kind` of the request's context.
TAKE_UP = {"gate": _of_gate, "confirm": _of_confirmation, "budget": budgets.take_up}
