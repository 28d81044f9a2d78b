"""`budget`: what a run, with all that it starts, may spend before a person is asked."""

from typing import Any

from ..draft import Draft
from ..findings import did_you_mean

LIMITS = ("usd", "tokens", "runs")


def check(draft: Draft) -> None:
    budget = draft.root.value["budget"]
    if not isinstance(budget, dict):
        return
    if not any(limit in budget for limit in LIMITS):
        draft.find_key(["budget"], "budget", "There is no limit in it.", "Add usd, tokens or runs.")
    policy = budget.get("policy", "default")
    if isinstance(policy, str) and policy not in draft.policies:
        fix = did_you_mean(policy, draft.policies)
        draft.find(["budget", "policy"], "unknown-policy", f"There is no policy {policy}.", fix)


def plan(draft: Draft) -> dict[str, Any]:
    budget = draft.root.value["budget"]
    limits = {name: budget[name] for name in LIMITS if name in budget}
    soft = int(budget.get("soft", "80%").removesuffix("%")) / 100
    return {"budget": {**limits, "soft": soft, "policy": budget.get("policy", "default")}}
