"""`approval`: a checkpoint, at which people decide."""

from collections.abc import Mapping
from typing import Any

from .. import schemas
from ..draft import Draft, texts
from ..durations import seconds_in
from ..findings import did_you_mean
from ..nodes import Where
from ..references import check_template

CHOICES = ["continue", "retry", "abort"]


def check(draft: Draft, name: str) -> None:
    at: Where = ["steps", name, "approval"]
    approval = draft.steps[name]["approval"]
    if not isinstance(approval, dict):
        return
    for key in ("title", "show"):
        check_template(draft, [*at, key], approval.get(key), name, draft.roots_of(name, "asking"))
    draft.output_schemas[name] = draft.schema_of_template(approval.get("show"), name)
    _check_retry(draft, name, approval)
    _check_deadline(draft, name, approval)
    _check_editable(draft, name, approval)
    policy = approval.get("policy", "default")
    if isinstance(policy, str) and policy not in draft.policies:
        fix = did_you_mean(policy, draft.policies)
        draft.find([*at, "policy"], "unknown-policy", f"There is no policy {policy}.", fix)


def plan(draft: Draft, name: str) -> dict[str, Any]:
    approval = draft.steps[name]["approval"]
    deadline = approval.get("deadline")
    gate = {
        "title": approval["title"],
        "show": approval.get("show"),
        "choices": approval.get("choices", CHOICES),
        "retry": _again(draft, name, approval.get("retry", draft.needs[name])),
        "editable": texts(approval.get("editable")),
        "policy": approval.get("policy", "default"),
        "deadline": deadline and {"after": seconds_in(deadline, "after"), "then": deadline["then"]},
        "payload_schema": draft.schema_of_one(name),
        "behind": [other for other in draft.steps if name in draft.needs[other]],
    }
    return {"approval": gate}


def _check_retry(draft: Draft, name: str, approval: Mapping[str, Any]) -> None:
    at: Where = ["steps", name, "approval", "retry"]
    choices, named = approval.get("choices", CHOICES), approval.get("retry")
    if "retry" in approval and isinstance(choices, list) and "retry" not in choices:
        draft.find_key(at, "retry", "retry is not among the choices.", "Add retry to choices, or take this out.")
    for index, other in enumerate(named if isinstance(named, list) else ()):
        if not isinstance(other, str):
            continue
        if other not in draft.steps:
            draft.find([*at, index], "unknown-step", f"There is no step {other}.", draft.meant(other, name))
        elif other not in draft.ancestors[name] or other == name:
            message = f"{name} does not need {other}, directly or not."
            draft.find([*at, index], "retry", message, "Name steps that come before the approval.")


def _check_deadline(draft: Draft, name: str, approval: Mapping[str, Any]) -> None:
    deadline = approval.get("deadline")
    choices = approval.get("choices", CHOICES)
    then = deadline.get("then") if isinstance(deadline, dict) else None
    if then in ("continue", "abort") and isinstance(choices, list) and then not in choices:
        at: Where = ["steps", name, "approval", "deadline", "then"]
        draft.find(at, "deadline", f"{then} is not among the choices.", f"Add {then} to choices, or choose another.")


def _check_editable(draft: Draft, name: str, approval: Mapping[str, Any]) -> None:
    schema = draft.output_schemas[name]
    for index, pointer in enumerate(texts(approval.get("editable"))):
        at: Where = ["steps", name, "approval", "editable", index]
        if "show" not in approval:
            draft.find(at, "pointer", "Nothing is shown that could be edited.", "Add show:, or take editable out.")
        if pointer and not pointer.startswith("/"):
            continue
        keys = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        path = tuple(schemas.Each.EACH if key == "*" else int(key) if key.isdecimal() else key for key in keys)
        found = schemas.follow(schema, path) if schema is not None else None
        if isinstance(found, schemas.Unknown):
            key = keys[found.depth]
            message = f"{pointer}: {key} is not in what is shown."
            if key == "*":
                message = f"{pointer}: what * is to stand for {found.message}."
            draft.find(at, "pointer", message, did_you_mean(key, found.known))


def _again(draft: Draft, gate: str, named: list[str]) -> list[str]:
    """The steps named and all on a path from them to the gate, in the order of the text."""
    ancestors = draft.ancestors
    on_path = {step for step in ancestors[gate] if step in named or ancestors[step] & set(named)}
    return [step for step in draft.steps if step in on_path]
