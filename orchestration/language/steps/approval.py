"""`approval`: a checkpoint, at which people decide."""

from collections.abc import Mapping
from typing import Any

from .. import schemas
from ..draft import Draft, texts
from ..durations import seconds_in
from ..findings import did_you_mean
from ..nodes import Where
from ..references import check_template

EACH = "*"
DERIVING = frozenset({"this", "output"})
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
    _check_derived(draft, name, approval)
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
    if derived := approval.get("derived"):
        gate["derived"] = [[pointer, value] for pointer, value in derived.items()]  # the database keeps lists in order
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
    for index, pointer in enumerate(texts(approval.get("editable"))):
        at: Where = ["steps", name, "approval", "editable", index]
        if "show" not in approval:
            draft.find(at, "pointer", "Nothing is shown that could be edited.", "Add show:, or take editable out.")
        if found := _misplaced(draft.output_schemas[name], pointer):
            draft.find(at, "pointer", *found)


def _check_derived(draft: Draft, name: str, approval: Mapping[str, Any]) -> None:
    derived = approval.get("derived")
    if not isinstance(derived, dict):
        return
    at: Where = ["steps", name, "approval", "derived"]
    schema = draft.output_schemas[name]
    if "show" not in approval:
        draft.find_key(at, "pointer", "Nothing is shown that could follow.", "Add show:, or take derived out.")
    for pointer, value in derived.items():
        place: Where = [*at, pointer]
        if not pointer.startswith("/"):
            continue
        if found := _misplaced(schema, pointer):
            draft.find_key(place, "pointer", *found)
        for other in texts(approval.get("editable")):
            if _overlap(pointer, other):
                message = f"{pointer} is worked out, and {other} lets the reviewer change it."
                draft.find_key(place, "pointer", message, "Let them change what it follows from, and only that.")
        above = schemas.follow(schema, _path_of(pointer)[:-1]) if schema is not None else None
        with draft.knowing(name, "this", None if isinstance(above, schemas.Unknown) else above):
            check_template(draft, place, value, name, DERIVING)


def _misplaced(schema: Any, pointer: str) -> tuple[str, str] | None:
    """What is wrong with a pointer into what is shown, and what to write instead."""
    if schema is None or (pointer and not pointer.startswith("/")):
        return None
    found = schemas.follow(schema, _path_of(pointer))
    if not isinstance(found, schemas.Unknown):
        return None
    key = _keys_of(pointer)[found.depth]
    message = f"{pointer}: {key} is not in what is shown."
    if key == EACH:
        message = f"{pointer}: what * is to stand for {found.message}."
    return message, did_you_mean(key, found.known)


def _keys_of(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _path_of(pointer: str) -> tuple[str | int | schemas.Each, ...]:
    return tuple(
        schemas.Each.EACH if key == EACH else int(key) if key.isdecimal() else key for key in _keys_of(pointer)
    )


def _overlap(one: str, other: str) -> bool:
    """Whether a place that one pattern names can be, hold, or lie in one that the other names."""
    return all(a == b or EACH in (a, b) for a, b in zip(_keys_of(one), _keys_of(other), strict=False))


def _again(draft: Draft, gate: str, named: list[str]) -> list[str]:
    """The steps named and all on a path from them to the gate, in the order of the text."""
    ancestors = draft.ancestors
    on_path = {step for step in ancestors[gate] if step in named or ancestors[step] & set(named)}
    return [step for step in draft.steps if step in on_path]
