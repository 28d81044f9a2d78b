"""Budgets of trees of runs: a sweep pauses the runs of one that is used up and asks a person, once; a raise lets them
go on. `charges` has what steps do with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.clock import database_clock
from accounts.models import Member
from approvals.models import ABORT, CONTINUE, Policy, Request
from orchestration.engine import failpoints
from orchestration.engine.charges import hold
from orchestration.engine.connection import rows, value
from orchestration.engine.gates import shown_to
from orchestration.engine.hints import hint_after_commit, hints
from orchestration.engine.levers.acting import act, note_of
from orchestration.engine.levers.pausing import RESUME
from orchestration.engine.settling import each
from orchestration.exceptions import InvalidInput
from orchestration.models import Budget, Event, Run, Step

RAISE = "select engine_raise_v1(%s, %s::jsonb, %s::jsonb, %s)"
CANCEL = "select engine_cancel_v4(%s, 'rejected', %s::jsonb)"
TELL = "select engine_settle_v3(null, '[]', '{}', %s::jsonb, null)"
MOST = {"usd": 1_000_000_000, "tokens": 1_000_000_000_000_000, "runs": 1_000_000_000}
WORDS = {
    CONTINUE: ["Raise it", "All that is paused for it goes on, with the limits you see here."],
    ABORT: ["End the run", "It ends as rejected, with all that it started."],
}


def look_after() -> int:
    """Each that crossed a limit, or was raised; how many."""
    return each(Budget.objects.filter(due=True), look_at)


def spenders(owner: Run) -> QuerySet[Run]:
    """The runs that go on and spend this run's budget, parents first."""
    root = owner.root_run_id or owner.pk
    tree = Run.objects.filter(Q(pk=root) | Q(root_run_id=root), ended_at=None, budgets__contains=[owner.pk])
    return tree.only("pk").order_by("pk")


def look_at(key: int) -> None:
    """Bring what is paused, asked and told in line with what is spent. Twice does nothing."""
    owner = Run.objects.for_list().without_values().get(pk=key)
    # Read first: who is paused after it was raised is among the runs that are read then.
    is_used_up = Budget.objects.used_up([key]).exists()
    going = [run.pk for run in spenders(owner)]
    left = Step.objects.filter(run__in=going).exclude(status__in=Step.ENDED).exclude(kind="output")
    asks = is_used_up and left.exists()
    if asks:
        for run in going:
            hold(run)
    else:
        while sum(_let_go(run.pk) for run in spenders(owner)):  # one may have started another before its turn came
            pass
    failpoints.reach("asked")
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).only("pk").get(pk=key)
        budget = Budget.objects.select_for_update(no_key=True).get(pk=key)
        if budget.is_used_up != is_used_up:
            return  # spent or raised meanwhile: it is due still
        _tell(budget)
        if asks and budget.asked_at is None:
            _withdraw(owner)
            _ask(owner, budget)
        elif not is_used_up or not going:
            _withdraw(owner)
            budget.asked_at = None
        budget.due = False
        budget.save(update_fields=["warned_at", "exceeded_at", "asked_at", "due"])
    hints.changed([key])


def _let_go(run: int) -> bool:
    """If a budget paused it, and none is used up any more; whether it did."""
    with transaction.atomic():
        row = Run.objects.select_for_update(no_key=True).only("budgets", "status").get(pk=run)
        if row.status != Run.Status.PAUSED or Budget.objects.used_up(row.budgets or []).exists():
            return False
        paused = Event.objects.filter(run=row, type="run.paused").order_by("seq").last()
        told = paused.data if paused else None
        if not told or "budget" not in told:
            return False  # a person did
        note = {"budget": told["budget"], "reason": "Its budget was raised."}
        value(RESUME, [run, json.dumps(note)])
        queues = row.steps.filter(status=Step.Status.READY).values_list("queue", flat=True).distinct()
        hint_after_commit(dict.fromkeys(queues, 1), [run])
    return True


def _tell(budget: Budget) -> None:
    now, told = database_clock(), []
    if budget.soft is not None and budget.share >= budget.soft and budget.warned_at is None:
        budget.warned_at = now
        told.append("run.budget_warning")
    if budget.is_used_up and budget.exceeded_at is None:
        budget.exceeded_at = now
        told.append("run.budget_exceeded")
    if not budget.is_used_up:
        budget.exceeded_at = None
    data = {"spent": _plain(budget.spent), "limits": _plain(budget.limits)}
    moves = [{"run": budget.pk, "type": kind, "data": data} for kind in told]
    if moves:
        rows(TELL, [json.dumps(moves)])


def _ask(owner: Run, budget: Budget) -> None:
    """A person may raise what is used up to the next multiple, or to what they like; the digest names what they saw."""
    budget.asked_at = database_clock()
    spent, limits = budget.spent, budget.limits
    proposed = {
        name: limit * (spent[name] // limit + 1) if spent[name] > limit else limit for name, limit in limits.items()
    }
    slug = owner.definition_version.definition.slug
    Request.ask(
        organization=owner.organization,
        subject=f"budget:{owner.pk}",
        title=f"The budget of {slug} is used up: {budget.words}",
        payload=_plain(proposed),
        choices=[CONTINUE, ABORT],
        editable=[f"/{name}" for name in limits],
        payload_schema={
            "type": "object",
            "properties": {name: _schema(name, spent[name]) for name in limits},
            "required": list(limits),
            "additionalProperties": False,
        },
        policy=Policy.objects.get(organization_id=owner.organization_id, slug=budget.policy),
        requested_by=owner.started_by,
        definition_digest=owner.definition_version.digest,
        steps=[],
        deadline_at=None,
        deadline_choice=None,
        context={
            "kind": "budget",
            "run": owner.public_id,
            "definition": slug,
            "url": f"{settings.BASE_URL}/runs/{owner.public_id}/",
            "run_id": owner.pk,
            "asked_at": budget.asked_at.isoformat(),
            "words": WORDS,
            **shown_to(owner.definition_version.visible_to),
        },
    )


def _schema(name: str, spent: Any) -> dict[str, Any]:
    title = {"usd": "US dollars", "tokens": "Tokens", "runs": "Runs below it"}[name]
    kind = "number" if name == "usd" else "integer"
    return {"type": kind, "title": title, "minimum": _plain({name: spent})[name], "maximum": MOST[name]}


def _withdraw(owner: Run) -> None:
    pending = Request.objects.pending().of_run(owner.public_id).filter(context__kind="budget")
    Request.withdraw(list(pending.values_list("pk", flat=True)))


def _plain(amounts: dict[str, Any]) -> dict[str, float | int]:
    return {name: float(amount) if name == "usd" else int(amount) for name, amount in amounts.items()}


# --- what people say


def take_up(request: Request) -> None:
    """Of an answered question."""
    key, by = request.context["run_id"], request.decided_by
    note = {"request": request.public_id, "by": by.name if by else None, "reason": request.note}
    if request.choice == CONTINUE:
        value(RAISE, [key, json.dumps(request.answer), json.dumps(note), request.context["asked_at"]])
        look_at(key)
        return
    for run in spenders(Run.objects.get(pk=key)):
        value(CANCEL, [run.pk, json.dumps(note)])
        hints.changed([run.pk])


def unlimited(run: Run) -> str | None:
    return None if run.pk in (run.budgets or []) else "The run has no budget of its own to be changed."


def set_limits(run: Run, *, by: Member | None, reason: str, **limits: float) -> None:
    """`limits`: usd, tokens, runs, those that change. Raises Refused."""
    if not limits:
        raise InvalidInput([{"pointer": "", "message": "Say usd, tokens or runs."}])
    note = note_of(by, reason)
    act(
        run,
        RAISE,
        [json.dumps(limits), json.dumps(note), None],
        by=by,
        action="run.change",
        data={**note, "budget": limits},
        otherwise="only the run that a budget was given to has one that can be changed",
    )
    look_at(run.pk)


@dataclass(frozen=True)
class Account:
    """A budget that a run spends, for people: `run` is the public id of the one it was given to. It has no amounts for
    who does not see what is in that run."""

    run: str
    limits: Mapping[str, float | int]
    spent: Mapping[str, float | int]
    is_used_up: bool
    words: str


def budgets_of(run: Run, member: Member) -> list[Account]:
    """Those that it spends, its own first."""
    if not run.budgets:
        return []
    found = Budget.objects.in_bulk(run.budgets)
    owners = Run.objects.select_related("definition_version").only("public_id", "definition_version__visible_to")
    by_key = owners.in_bulk(run.budgets)
    return [_account(by_key[key], found[key], member) for key in run.budgets if key in found]


def _account(owner: Run, row: Budget, member: Member) -> Account:
    if not owner.payload_visible_to(member):
        return Account(owner.public_id, {}, {}, row.is_used_up, "")
    return Account(owner.public_id, _plain(row.limits), _plain(row.spent), row.is_used_up, row.words)
