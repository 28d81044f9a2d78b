"""A definition's text to its checked plan.

`schema` says the shape; `order`, `references`, `top` and `steps` all that a schema cannot: names that must exist,
order, expressions, types. Every check runs over all of the text, so that one save shows all findings.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from . import top
from .documents import Unreadable, read
from .draft import AgentFacts, DefinitionFacts, Draft
from .findings import Finding
from .order import check_order, in_order
from .plan import plan_of
from .reach import check_reach
from .shape import check_shape
from .steps import check_step

NONE: Mapping[str, DefinitionFacts] = {}


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
    definitions: Mapping[str, DefinitionFacts] = NONE,
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
    check_order(draft)
    for name in in_order(draft):
        check_step(draft, name)
    check_reach(draft)
    for key, known in top.KEYS.items():
        if key in draft.root.value:
            known.check(draft)
