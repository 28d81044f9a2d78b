"""`on_failure`: whether a failed step fails its run, lets others go on, or has another step done for it."""

from typing import Any

from ..draft import Draft
from ..nodes import Where

WORDS = ("fail", "continue")


def check(draft: Draft, name: str) -> None:
    handler = draft.steps[name]["on_failure"]
    at: Where = ["steps", name, "on_failure"]
    if not isinstance(handler, str) or handler in WORDS:
        return
    if handler not in draft.steps:
        draft.find(at, "unknown-step", f"There is no step {handler}.", draft.meant(handler, name))
    elif name not in draft.needs[handler]:
        draft.find(at, "on-failure", f"{handler} does not need {name}.", f"Add {name} to needs of {handler}.")
    elif others := [need for need in draft.needs[handler] if need not in draft.handles.get(handler, ())]:
        message = f"{handler} also needs {', '.join(others)}, which it is not there for."
        draft.find(at, "on-failure", message, f"Let {handler} need nothing but steps that name it in on_failure.")


def plan(draft: Draft, name: str) -> dict[str, Any]:
    said = draft.steps[name]["on_failure"]
    return {} if said == "fail" else {"on_failure": said}
