"""Steps that can never run, whatever happens: their `if` is always false, or they need one that never runs."""

from typing import Any

from .draft import Draft
from .expressions import Expression, ExpressionError, bare, compile_expression
from .order import in_order


def check_reach(draft: Draft) -> None:
    never: set[str] = set()
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
        elif needed := [need for need in draft.needs[name] if need in never and need not in borne]:
            never.add(name)
            message = f"{name} can never run: it needs {needed[0]}, which never runs."
            draft.find(["steps", name, "needs"], "unreachable", message, f"Take {needed[0]} out of needs.")


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
