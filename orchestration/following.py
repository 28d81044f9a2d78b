"""What follows from an answer at a checkpoint, told to approvals."""

from typing import Any

from approvals.exceptions import InvalidAnswer
from approvals.models import Request
from orchestration.language.derived import Derived, NotDerivable
from orchestration.models import DefinitionVersion, Step


class Following(Derived):
    """What cannot be worked out refuses the answer."""

    def applied(self, payload: Any) -> Any:
        try:
            return super().applied(payload)
        except NotDerivable as exc:
            message = f"This follows from the rest, and cannot be worked out: {exc}."
            raise InvalidAnswer([{"pointer": exc.pointer, "message": message}]) from exc


def derivation_of(row: Request) -> Following | None:
    """By the plan of the checkpoint that asked. Taken out of it by the database: a plan may be long."""
    asked = row.context
    if asked.get("kind", "gate") != "gate" or "run_id" not in asked:
        return None
    step = Step.objects.filter(run_id=asked["run_id"], key=asked["key"])
    place = step.values_list("position", "run__definition_version_id").first()
    if place is None:
        return None
    position, version = place
    rules = f"plan__steps__{position - 1}__approval__derived"
    found = DefinitionVersion.objects.filter(pk=version).values_list(rules, flat=True).first()
    return Following(found, row.payload_schema) if found else None
