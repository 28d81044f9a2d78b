"""A definition's text to its checked plan.

`schema.json` says the shape; `order`, `references` and `steps` all that a schema cannot: names that must exist, order,
expressions, types. Every check runs over all of the text, so that one save shows all findings.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from . import schemas
from .documents import Unreadable, read
from .draft import AgentFacts, Draft
from .findings import Finding
from .order import check_order, in_order
from .plan import plan_of
from .references import IN_OUTPUT, check_template
from .shape import check_shape
from .steps import check_step

TAKEN_NAME = "new"  # its page would be hidden behind the one that makes a definition


@dataclass(frozen=True, slots=True)
class Compiled:
    """`plan` is None if any finding is an error; findings are in the order of the text."""

    plan: dict[str, Any] | None
    findings: list[Finding]


def compile_definition(
    text: str,
    *,
    file: str,
    agents: Mapping[str, AgentFacts],
    policies: Collection[str],
    definitions: Collection[str] = (),
) -> Compiled:
    """Never raises for what `text` holds: that becomes findings. `file` only names the text in them."""
    try:
        root, findings = read(text, file)
    except Unreadable as exc:
        return Compiled(None, [exc.finding])
    draft = Draft(root, findings, agents, policies, definitions)
    check_shape(draft)
    if isinstance(root.value, dict):
        check_meaning(draft)
    found = sorted(set(findings.found))
    errors = any(finding.severity == "error" for finding in found)
    return Compiled(None if errors else plan_of(draft), found)


def check_meaning(draft: Draft) -> None:
    """Each check passes over what the shape has already refused."""
    check_name(draft)
    check_input_schema(draft)
    check_order(draft)
    for name in in_order(draft):
        check_step(draft, name)
    check_template(draft, ["output"], draft.root.value.get("output"), None, IN_OUTPUT)


def check_name(draft: Draft) -> None:
    if draft.root.value.get("name") == TAKEN_NAME:
        message = "No definition can be called new, for /definitions/new/ is another page."
        draft.find(["name"], "slug", message, "Choose another name.")


def check_input_schema(draft: Draft) -> None:
    schema = draft.root.value.get("input")
    for path, message in schemas.check(schema) if isinstance(schema, dict) else ():
        what = f"The input's JSON Schema: {message}."
        draft.find(["input", *path], "input-schema", what, "Write JSON Schema 2020-12.")
