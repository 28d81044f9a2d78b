"""`visible_to`: the roles that see what is in a run."""

from typing import Any

from ..draft import Draft


def plan(draft: Draft) -> dict[str, Any]:
    return {"visible_to": draft.root.value["visible_to"]}
