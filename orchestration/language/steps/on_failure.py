"""`on_failure`: whether a failed step fails its run, lets others go on, or has another step done for it; for all
errors, or by their class."""

from typing import Any

from ..draft import Draft
from ..nodes import Where
from .retry import CALLED, OF_CHILDREN, classes_of

WORDS = ("fail", "continue")
ELSE = "else"
ALWAYS = ("permanent", "expression", "worker_lost")  # whatever the step does


def check(draft: Draft, name: str) -> None:
    said = draft.steps[name]["on_failure"]
    at: Where = ["steps", name, "on_failure"]
    if isinstance(said, str):
        _check_target(draft, at, name, said)
    for error, target in said.items() if isinstance(said, dict) else ():
        if error in (*CALLED, *OF_CHILDREN) and error not in (classes := failures_of(draft, name)):
            message = f"{name} cannot end with {error}."
            draft.find_key([*at, error], "on-failure", message, f"It ends with {', '.join(classes)}.")
        elif isinstance(target, str):
            _check_target(draft, [*at, error], name, target)


def failures_of(draft: Draft, name: str) -> tuple[str, ...]:
    """The classes of error with which a step of this kind may end."""
    step = draft.steps[name]
    if "agent" in step:
        return tuple(dict.fromkeys((*classes_of(draft, name), *ALWAYS)))
    if "run" in step:
        return ("timeout", *OF_CHILDREN, *ALWAYS)
    if "wait" in step:
        return ("timeout", *(OF_CHILDREN if _has_child(step["wait"]) else ()), *ALWAYS)
    return ALWAYS


def _has_child(wait: Any) -> bool:
    several = wait.get("any") if isinstance(wait, dict) else None
    return isinstance(several, list) and any(isinstance(one, dict) and "run" in one for one in several)


def plan(draft: Draft, name: str) -> dict[str, Any]:
    """In one word where all classes have the same."""
    said = draft.steps[name]["on_failure"]
    by_class = {ELSE: "fail", **said} if isinstance(said, dict) else {ELSE: said}
    if len(set(by_class.values())) > 1:
        return {"on_failure_by": by_class}
    return {} if by_class[ELSE] == "fail" else {"on_failure": by_class[ELSE]}


def _check_target(draft: Draft, at: Where, name: str, handler: str) -> None:
    if handler in WORDS:
        return
    if handler not in draft.steps:
        draft.find(at, "unknown-step", f"There is no step {handler}.", draft.meant(handler, name))
    elif name not in draft.needs[handler]:
        draft.find(at, "on-failure", f"{handler} does not need {name}.", f"Add {name} to needs of {handler}.")
    elif others := [need for need in draft.needs[handler] if need not in draft.handles.get(handler, ())]:
        message = f"{handler} also needs {', '.join(others)}, which it is not there for."
        draft.find(at, "on-failure", message, f"Let {handler} need nothing but steps that name it in on_failure.")
