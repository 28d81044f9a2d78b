"""Steps that can never run, whatever happens: their `if` is always false, they need one that never runs, or what they
need excludes each other: branches of one choice, or a step and the one that is done if it fails."""

from collections import Counter
from itertools import chain
from typing import Any

from .draft import Draft, follows
from .expressions import Expression, ExpressionError, bare, compile_expression
from .order import in_order

# What must come about for a step to run: of a choice, which step it chooses; of a step, whether it completes or fails,
# and to which step its failure leads.
Musts = dict[tuple[str, str], str]


def check_reach(draft: Draft) -> None:
    never: set[str] = set()
    musts: dict[str, Musts] = {}
    for name in in_order(draft):
        condition = _condition(draft.steps[name].get("if"))
        borne = condition.names.statuses if condition else frozenset[str]()
        musts[name] = _own_musts(draft, name)
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
        elif words := _excluded(draft, name, musts, borne):
            never.add(name)
            message = f"{name} can never run: {words}."
            draft.find(["steps", name, "needs"], "unreachable", message, "Write needs with any: [...].")


def _needed_in_vain(draft: Draft, name: str, never: set[str], borne: frozenset[str]) -> str | None:
    """A need that never runs, where too few are left without it."""
    lost = [need for need in draft.needs[name] if need in never and need not in borne]
    return lost[0] if lost and len(lost) > len(draft.needs[name]) - draft.wanted_of(name) else None


def _own_musts(draft: Draft, name: str) -> Musts:
    found: Musts = {("choice", choice): name for choice in draft.chosen_by.get(name, ())}
    handled = draft.handles.get(name, [])
    if len(handled) == 1:
        found |= {("end", handled[0]): "fails", ("failure", handled[0]): name}
    return found


def _excluded(draft: Draft, name: str, musts: dict[str, Musts], borne: frozenset[str]) -> str | None:
    """Why too few of its needs can complete in one run. What follows from those that all must, is added to its own."""
    tolerated = borne.union(draft.handles.get(name, ()))
    needed = {need: _musts_of(draft, need, musts) for need in draft.needs[name] if need not in tolerated}
    all_needed = draft.wanted_of(name) == len(draft.needs[name])
    for key in set(chain.from_iterable(needed.values())):
        values = Counter(must[key] for must in needed.values() if key in must)
        excluded = values.total() - max(values.values())
        if excluded and len(draft.needs[name]) - excluded < draft.wanted_of(name):
            return _in_words(key, [need for need, must in needed.items() if key in must], list(values))
        if all_needed and musts[name].setdefault(key, next(iter(values))) not in values:
            return _in_words(key, [next(iter(needed))], [*values, musts[name][key]])
    return None


def _musts_of(draft: Draft, need: str, musts: dict[str, Musts]) -> Musts:
    """For `need` to complete; one whose `on_failure` may be continue may as well fail."""
    own: Musts = {} if "continue" in follows(draft.steps[need]) else {("end", need): "completes"}
    return musts.get(need, {}) | own


def _in_words(key: tuple[str, str], needs: list[str], values: list[str]) -> str:
    kind, name = key
    if kind == "choice":
        return f"it needs {' and '.join(values)}, and {name} chooses one of them"
    if kind == "failure":
        return f"it needs {' and '.join(values)}, and one failure of {name} leads to one of them"
    others = [need for need in needs if need != name]
    return f"it needs {name}, and {' and '.join(others)}, for which {name} must fail"


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
