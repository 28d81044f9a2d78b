"""`choose`: one of several steps is done. Each of them needs this one, and is skipped unless it is chosen."""

from typing import Any

from ..draft import Draft, texts
from ..nodes import Where
from . import condition

OUTPUT = {
    "type": "object",
    "properties": {"chosen": {"type": ["string", "null"]}},
    "required": ["chosen"],
    "additionalProperties": False,
}


def check(draft: Draft, name: str) -> None:
    branches = draft.steps[name]["choose"]
    draft.output_schemas[name] = OUTPUT
    seen: set[str] = set()
    for index, branch in enumerate(branches if isinstance(branches, list) else ()):
        if isinstance(branch, dict):
            at: Where = ["steps", name, "choose", index]
            _check_form(draft, at, branch, is_last=index == len(branches) - 1)
            if "if" in branch:
                condition.check_condition(draft, [*at, "if"], branch["if"], name, "once")
            for key in ("then", "else"):
                if isinstance(branch.get(key), str):
                    _check_target(draft, [*at, key], name, branch[key], seen)


def plan(draft: Draft, name: str) -> dict[str, Any]:
    branches = [
        {"if": condition.expression_of(branch.get("if", True)).source, "then": branch.get("then", branch.get("else"))}
        for branch in draft.steps[name]["choose"]
    ]
    return {"choose": branches}


def reads(branches: list[dict[str, Any]]) -> frozenset[str]:
    return frozenset().union(*(condition.reads(branch["if"]) for branch in branches if "if" in branch))


def _check_form(draft: Draft, at: Where, branch: dict[str, Any], *, is_last: bool) -> None:
    if not {"if", "then", "else"}.issuperset(branch):
        return
    if set(branch) == {"else"}:
        if not is_last:
            draft.find_key([*at, "else"], "choose", "else is not the last branch.", "Put it behind all others.")
    elif set(branch) != {"if", "then"}:
        message = f"A branch says {' and '.join(branch) or 'nothing'}."
        draft.find(at, "choose", message, "Write {if: …, then: STEP}, or {else: STEP}.")


def _check_target(draft: Draft, at: Where, name: str, target: str, seen: set[str]) -> None:
    if target in seen:
        draft.find(at, "choose", f"{target} stands in two branches.", "Join their conditions with ||.")
    elif target not in draft.steps:
        draft.find(at, "unknown-step", f"There is no step {target}.", draft.meant(target, name))
    elif name not in texts(draft.steps[target].get("needs")):
        message = f"{target} does not need {name} outright."
        draft.find(at, "choose-needs", message, f"Add {name} to needs of {target}.")
    seen.add(target)
