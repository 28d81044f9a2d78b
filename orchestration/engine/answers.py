"""Takes up what people and children said: one guarded move of a waiting step each, so that twice does nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from accounts import audit
from accounts.models import Member
from approvals.models import Request
from orchestration.engine import failpoints
from orchestration.engine.connection import rows, value
from orchestration.engine.execution import Execution, RunFacts, listed
from orchestration.engine.hints import hint_after_commit, hints
from orchestration.engine.outcomes import Claim, Outcome, encode, failed, load_payload, store_payloads
from orchestration.engine.plans import agent_of, plan_of
from orchestration.exceptions import InvalidInput, NotUncertain, RunEnded
from orchestration.language.expressions import ExpressionError, TypingError
from orchestration.models import Run, Step

log = structlog.get_logger(__name__)
FLUSH = "select verdict, n from engine_flush_v2(null, array[%s]::bigint[], %s::jsonb, '{}', 0, null, true)"
# A step as `engine_flush` gives a claimed one.
CLAIM = """
select null, 'waiting', s.run_id, s.key, s.fence, s.attempt, s.position, s.name, s.round, s.index, s.kind,
       s.agent_version_id, s.feedback,
       (select jsonb_agg(jsonb_build_object('k', o.key, 'p', o.position, 's', o.status, 'o', o.output,
                                            'x', encode(o.output_digest, 'hex'), 'd', o.decision))
        from orchestration_step o where o.run_id = s.run_id and o.key = any (s.reads)),
       r.definition_version_id, r.public_id, r.organization_id, r.started_by_id, r.depth, r.input, r.error is not null
from orchestration_step s join orchestration_run r on r.id = s.run_id
where s.run_id = %s and s.key = %s and s.fence = %s
"""
LARGEST_SWEEP = 200


def settle(step: tuple[int, int, int], was: str, outcome: Outcome) -> bool:
    """Move a step that nobody runs. False if it has moved on meanwhile. Ready steps are hinted to the workers."""
    item = encode(step, was, outcome)
    if item.payloads:
        store_payloads(list(item.payloads))
    verdicts = dict(rows(FLUSH, [step[0], f'[{{"n":1,{item.text}}}]']))
    ready = {verdict.removeprefix("ready:"): n for verdict, n in verdicts.items() if verdict.startswith("ready:")}
    hint_after_commit(ready, [step[0]])
    return verdicts.keys().isdisjoint({"late", "busy"})


def each(rows: QuerySet[Any], act: Callable[[int], None]) -> int:
    """`act` on these rows by their keys, a sweep's worth; how many it worked for.

    One that fails, be it only to be read, comes again with the next sweep; those behind it have their turn in this one.
    """
    done, keys = 0, [0]
    while keys and done < LARGEST_SWEEP:
        keys = list(rows.filter(pk__gt=keys[-1]).order_by("pk").values_list("pk", flat=True)[:LARGEST_SWEEP])
        for key in keys:
            connection.ensure_connection()  # fails if the database is gone: then so would all the others
            try:
                act(key)
                done += 1
            except Exception:  # whatever is wrong with this one is not the others'
                log.exception("not_taken_up", act=act.__name__, key=key)
                connection.close_if_unusable_or_obsolete()
    return done


# --- people


def take_up_decisions() -> int:
    """Apply decided and expired requests to the steps that wait for them; how many."""
    return each(Request.objects.unacknowledged(), _take_up)


def _take_up(key: int) -> None:
    request = Request.objects.for_inbox().get(pk=key)
    _answer(request)
    failpoints.reach("answer")
    request.acknowledge()


def _answer(request: Request) -> None:
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
        settle(step, "waiting", _with_deliverable(step, passed))
    elif request.choice == "retry":
        _open_round(step, decision, note)
    else:
        _abort(step, decision, note)


def _with_deliverable(step: tuple[int, int, int], outcome: Outcome) -> Outcome:
    """A completion that a person or a child brought about makes the step's deliverable, as any other."""
    found = rows(CLAIM, step)
    if not found or outcome.becomes != "completed":
        return outcome  # if it has moved on, settling it will find the same
    claim = Claim.of(found[0])
    try:
        deliverable = Execution(claim, RunFacts(claim), bool).deliverable(outcome.output)
    except (ExpressionError, TypingError) as exc:
        return failed("expression", str(exc), **outcome.fields)
    return replace(outcome, fields={**outcome.fields, **deliverable})


def _output_errors(step: Step, output: Any) -> list[dict[str, str]]:
    """Why this is nothing that the step's agent may answer to the input that was stored with the step."""
    if step.agent_version_id is None:
        return []
    given = step.input if step.input_digest is None else load_payload(bytes(step.input_digest))
    return agent_of(step.agent_version_id).output_errors(given, output)


def _open_round(step: tuple[int, int, int], decision: dict[str, Any], note: dict[str, Any]) -> None:
    run, key, fence = step
    gate = Step.objects.filter(run_id=run, key=key).values_list("position", "run__definition_version_id").first()
    if gate is None:
        return
    plan = plan_of(gate[1])
    approval = plan.steps[gate[0]].approval or {}
    positions = [plan.position_of[name] for name in approval["retry"]] + [gate[0]]
    feedback = {name: decision[name] for name in ("note", "form", "by")}
    replaced = [plan.steps[position].name for position in positions if position != gate[0]]
    with transaction.atomic():
        opened = value(
            "select engine_reopen_v2(%s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb)",
            [run, key, fence, positions, json.dumps(decision), json.dumps(note), json.dumps(feedback)],
        )
        if opened:  # questions that steps replaced by it still put: under the run's lock, so before the new ones
            Request.withdraw([f"run:{run}:{name}" for name in replaced])
        failpoints.reach("round")
    hints.changed([run])
    for queue in settings.WORKER_QUEUES:
        hints.work(queue)


def _abort(step: tuple[int, int, int], decision: dict[str, Any], note: dict[str, Any]) -> None:
    outcome = Outcome("completed", fields={"decision": decision, "note": note})
    gate = f'{{"n":0,{encode(step, "waiting", outcome).text}}}'
    rows("select engine_cancel_v3(%s, 'rejected', %s::jsonb, %s::jsonb)", [step[0], json.dumps(note), gate])
    hints.changed([step[0]])


def cancel(run: Run, *, by: Member | None, reason: str) -> str:
    """Cancel a run; its status afterwards. Again while it is canceling: nothing changes. Raises RunEnded."""
    note = {"reason": reason, "by": by.name if by else None}
    with transaction.atomic():
        status = value("select engine_cancel_v3(%s, 'canceled', %s::jsonb)", [run.pk, json.dumps(note)])
        if status is None:
            run.refresh_from_db(fields=["status"])
            raise RunEnded(run.status)
        audit.record(organization=run.organization, actor=by, action="run.cancel", target=run.public_id, data=note)
    failpoints.reach("canceled")
    hints.changed([run.pk])
    tidy_up()
    return str(status)


def tidy_up() -> int:
    """Withdraw canceled steps' requests, and cancel ended steps' children: after that commit, never inside it.

    How many.
    """
    return each(Run.objects.filter(tidy=True), _tidy_up)


def _tidy_up(key: int) -> None:
    run = Run.objects.only("seq").get(pk=key)
    gates = Step.objects.filter(run=run, kind="approval")
    asking = gates.exclude(status__in=Step.ENDED).values("name")  # in a newer round, under the same subject
    steps = gates.filter(status=Step.Status.CANCELED).exclude(name__in=asking).values_list("name", flat=True)
    Request.withdraw([f"run:{run.pk}:{name}" for name in steps])
    over = Step.objects.filter(run=run, status__in=Step.ENDED).values("key")
    for child in Run.objects.filter(parent_run_id=run.pk, parent_key__in=over, ended_at=None):
        value(
            "select engine_cancel_v3(%s, 'canceled', %s::jsonb)",
            [child.pk, json.dumps({"reason": "the run that started it was canceled"})],
        )
        hints.changed([child.pk])
    failpoints.reach("tidied")
    # Not if it moved since it was read: what else has been canceled then is for the next sweep.
    Run.objects.filter(pk=run.pk, tidy=True, seq=run.seq).update(tidy=False)


def resolve(run: Run, step: Step, *, by: Member, outcome: str, output: Any, reason: str) -> None:
    """A person says what became of an uncertain step: completed, failed, or again (it did not happen; run it again).

    Raises NotUncertain; InvalidInput, if `output` is not what the step's agent may answer.
    """
    if step.status != Step.Status.UNCERTAIN:
        raise NotUncertain(step.name, step.status)
    if outcome == "completed":
        errors = _output_errors(step, output)
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
        found = _with_deliverable(place, found)
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


# --- children


def tell_parents() -> int:
    """Give ended children's outcomes to the steps that wait for them: a child's own end never locks its parent."""
    return each(Run.objects.filter(told_at=None, parent_run_id__gt=0, ended_at__isnull=False), _tell_parent)


def _tell_parent(key: int) -> None:
    child = Run.objects.defer("input").get(pk=key)
    parent = (
        Step.objects.filter(run_id=child.parent_run_id or 0, key=child.parent_key or 0)
        .only("fence", "agent_version_id", "input", "input_digest")
        .first()
    )
    if parent is not None:
        place = (parent.run_id, parent.key, parent.fence)
        settle(place, "waiting", _with_deliverable(place, _of_child(child, parent)))
    failpoints.reach("told")
    rows("update orchestration_run set told_at = clock_timestamp() where id = %s and told_at is null", [child.pk])


def _of_child(child: Run, parent: Step) -> Outcome:
    note = {"child": child.public_id}
    if child.status == Run.Status.COMPLETED:
        output = child.output if child.output_digest is None else load_payload(bytes(child.output_digest))
        if errors := _output_errors(parent, output):
            agent = agent_of(parent.agent_version_id or 0).slug
            return failed("permanent", f"{agent} answered against its schema: {listed(errors)}", note=note)
        return Outcome("completed", output=output, fields={"note": note})
    message = (child.error or {}).get("message") or f"Its run {child.public_id} is {child.status}."
    return Outcome(
        "failed",
        fields={"note": note, "error": {"class": f"child_{child.status}", "message": message, "run": child.public_id}},
    )
