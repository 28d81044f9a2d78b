"""What a step spends of the budgets above it, and the step that finds one used up: its run is paused."""

import json
from typing import Any

from django.db import transaction

from orchestration.engine.connection import returned_connection, value
from orchestration.engine.hints import hint_after_commit
from orchestration.engine.outcomes import Claim, Outcome
from orchestration.models import Budget, Run

PAUSE = "select engine_pause_v1(%s, %s::jsonb)"


def charge_of(claim: Claim, outcome: Outcome) -> dict[str, Any] | None:
    """For `engine_charge`; None where nothing is charged. What an agent did not do now reports no tokens."""
    if "budgets" not in claim.more:
        return None
    usage = outcome.fields.get("usage") or {}
    charge = {
        "usd": usage.get("cost_usd"),
        "tokens": usage.get("input_tokens", 0) + usage.get("output_tokens", 0),
        "runs": int("launch" in outcome.fields.get("more", {})),
    }
    return charge if any(charge.values()) else None


def holds(claim: Claim) -> bool:
    """Whether a budget that this step would spend is used up: then nothing of the run starts. What takes back what was
    done does, and so does a run's output, which ends it."""
    spent = claim.more.get("budgets")
    if spent is None or claim.kind == "output" or "undoes" in claim.more:
        return False
    with returned_connection():
        return Budget.objects.used_up(spent).exists() and hold(claim.run)


def hold(run: int) -> bool:
    """Pause this run if one of its budgets is used up; whether one is. Asked under its lock, which who lets runs go on
    after a raise takes too."""
    with transaction.atomic():
        row = Run.objects.select_for_update(no_key=True).only("budgets").get(pk=run)
        budget = Budget.objects.used_up(row.budgets or []).order_by("-run_id").first()
        if budget is None:
            return False
        owner = Run.objects.select_related("definition_version").get(pk=budget.run_id)
        # who sees this run may not see what is in that one
        words = f": {budget.words}" if owner.definition_version.visible_to is None else ""
        note = {"budget": owner.public_id, "reason": f"A budget is used up{words}"}
        if value(PAUSE, [run, json.dumps(note)]) is None:
            hint_after_commit({}, [run])
        Budget.objects.filter(pk=budget.pk, asked_at=None).update(due=True)
    return True
