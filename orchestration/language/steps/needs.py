"""`needs`: the steps that must have ended, all of them, or of which so many must have completed."""

from typing import Any

from ..draft import Draft, texts
from ..nodes import Where


def check(draft: Draft, name: str) -> None:
    needs = draft.steps[name]["needs"]
    at: Where = ["steps", name, "needs"]
    if isinstance(needs, dict):
        _check_form(draft, at, needs)
        at = [*at, "any" if "any" in needs else "in"]
        needs = needs.get(at[-1])
    for index, need in enumerate(texts(needs)):
        if need not in draft.steps:
            draft.find([*at, index], "unknown-step", f"There is no step {need}.", draft.meant(need, name))


def plan(draft: Draft, name: str) -> dict[str, Any]:
    needs = draft.steps[name]["needs"]
    return {"wanted": needs.get("of", 1)} if isinstance(needs, dict) else {}


def _check_form(draft: Draft, at: Where, needs: dict[str, Any]) -> None:
    if not {"any", "of", "in"}.issuperset(needs):
        return
    if set(needs) not in ({"any"}, {"of", "in"}):
        message = f"needs says {' and '.join(needs) or 'nothing'}."
        draft.find(at, "needs", message, "Write {any: […]}, or {of: 2, in: […]}.")
    elif isinstance(needs.get("of"), int) and needs["of"] > len(texts(needs["in"])):
        message = f"{needs['of']} cannot complete, there are {len(texts(needs['in']))}."
        draft.find([*at, "of"], "needs", message, "Ask for fewer, or name more steps.")
