from dataclasses import asdict
from typing import Any

from django.core.exceptions import PermissionDenied


class OrchestrationError(Exception):
    """The workflow engine refused."""

    status = 400

    def extra(self) -> dict[str, Any]:
        """Members of the problem beside its status and detail."""
        return {}


class InvalidInput(OrchestrationError):
    """The input does not fit the schema."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("The input is not valid.")
        self.errors = errors

    def extra(self) -> dict[str, Any]:
        return {"errors": self.errors}


class InvalidDefinition(InvalidInput):
    """The definition has errors; each finding says where and what to do."""

    def __init__(self, findings: list[Any]) -> None:
        errors = [
            {
                "pointer": f"{finding.file}:{finding.line}:{finding.column}",
                **asdict(finding),
            }
            for finding in findings
        ]
        super().__init__(errors)
        self.args = ("The definition has errors.",)
        self.findings = findings


class NewerVersion(OrchestrationError):
    """Someone saved a newer version meanwhile."""

    status = 409

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name} is at version {number} by now.")
        self.name = name
        self.number = number


class UnknownDefinition(OrchestrationError):
    """No definition of that name is here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No definition is called {name!r} in this organization.")
        self.name = name

    def extra(self) -> dict[str, Any]:
        return {"errors": [{"pointer": "/definition", "message": str(self)}]}


class AgentGone(OrchestrationError):
    """An agent that the definition names is not here any more."""

    status = 409


class DefinitionGone(OrchestrationError):
    """The definition was deleted meanwhile."""

    status = 409


class LimitFull(OrchestrationError):
    """So many runs go on already, and the definition refuses one more."""

    status = 409

    def __init__(self, key: str, runs: list[str] | None) -> None:
        self.runs = runs or []
        held = f" Its places are held by {', '.join(self.runs[:3])}{' and others' * (len(self.runs) > 3)}."
        super().__init__(f"No more runs of {key} may go on at once.{held if self.runs else ''}")

    def extra(self) -> dict[str, Any]:
        return {"runs": self.runs}


class RunEnded(OrchestrationError):
    """The run has ended; what it did stays as it is."""

    status = 409

    def __init__(self, status: str) -> None:
        super().__init__(f"The run has ended: it is {status}.")


class Refused(OrchestrationError):
    """The state of the run or of the step does not allow this; the message says what would."""

    status = 409


class Misfit(OrchestrationError):
    """What the run has done does not fit that version."""

    status = 409

    def __init__(self, findings: list[Any]) -> None:
        words = " ".join(
            f"{finding.step}: {finding.message}" if finding.step else finding.message for finding in findings
        )
        super().__init__(f"{self.__doc__} {words}")
        self.findings = findings

    def extra(self) -> dict[str, Any]:
        return {"errors": [{"pointer": f"/steps/{one.step}", "message": one.message} for one in self.findings]}


class PayloadHidden(OrchestrationError, PermissionDenied):
    """The definition shows what is in its runs to other roles only."""

    status = 403

    def __init__(self, roles: list[str]) -> None:
        super().__init__(f"What is in this run is for the role {' or '.join(roles)}; you see its states and times.")


class NotUncertain(OrchestrationError):
    """Only an uncertain step can be resolved."""

    status = 409

    def __init__(self, name: str, status: str) -> None:
        super().__init__(f"Step {name} is {status}; only an uncertain step can be resolved.")


class NoSuchTimes(OrchestrationError):
    """The schedule starts nothing then."""

    status = 409


class Pinned(OrchestrationError):
    """The run is pinned already."""

    status = 409

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class NotPinned(OrchestrationError):
    """The run is not pinned."""

    status = 409

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class KeyReused(OrchestrationError):
    """This Idempotency-Key began a run of another definition or input. Use a new key for a new run."""

    status = 422

    def __init__(self) -> None:
        super().__init__(self.__doc__)
