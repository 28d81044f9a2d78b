"""Steps that can never run, whatever happens: their `if` is always false, or they need one that never runs."""

from typing import Any

from .draft import Draft
from .expressions import Expression, ExpressionError, bare, compile_expression
from .order import in_order


def check_reach(draft: Draft) -> None:
    never: set[str] = set()
    chosen: dict[str, dict[str, str]] = {}  # of each step: which one each choice must choose if it is to run
    for name in in_order(draft):
        condition = _condition(draft.steps[name].get("if"))
        borne = condition.names.statuses if condition else frozenset[str]()
        if condition is not None and _is_always_false(condition):
            never.add(name)
            message, fix = (
                f"{name} can never run: its `if` is always false.",
                "Write a condition, or take the step out.",
            )
            draft.find(["steps", name, "if"], "unreachable", message, fix)
        elif lost := _needed_in_vain(draft, name, never, borne):
            never.add(name)
            message = f"{name} can never run: it needs {lost}, which never runs."
            draft.find(["steps", name, "needs"], "unreachable", message, f"Take {lost} out of needs.")
        else:
            if of_one := _two_of_one_choice(draft, name, chosen, borne):
                never.add(name)
                message = (
                    f"{name} can never run: it needs {of_one[1]} and {of_one[2]}, and {of_one[0]} chooses one of them."
                )
                draft.find(["steps", name, "needs"], "unreachable", message, "Write needs with any: [...].")


def _needed_in_vain(draft: Draft, name: str, never: set[str], borne: frozenset[str]) -> str | None:
    """A need that never runs, where too few are left without it."""
    lost = [need for need in draft.needs[name] if need in never and need not in borne]
    return lost[0] if lost and len(lost) > len(draft.needs[name]) - draft.wanted_of(name) else None


def _two_of_one_choice(
    draft: Draft, name: str, chosen: dict[str, dict[str, str]], borne: frozenset[str]
) -> tuple[str, str, str] | None:
    """A choice and two of its steps, both of which this one needs, directly or not."""
    chosen[name] = dict.fromkeys(draft.chosen_by.get(name, ()), name)
    if draft.wanted_of(name) < len(draft.needs[name]):
        return None
    for need in draft.needs[name]:
        for choice, step in chosen.get(need, {}).items() if need not in borne else ():
            if chosen[name].setdefault(choice, step) != step:
                return choice, chosen[name][choice], step
    return None


def _condition(text: Any) -> Expression | None:
    try:
        return None if text is None else compile_expression(bare(str(text).lower() if text is False else str(text)))
    except ExpressionError:
        return None


def _is_always_false(condition: Expression) -> bool:
    try:
        return not condition.reads and condition.evaluate({}) is False
    except ExpressionError:
        return False
