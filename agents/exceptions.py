"""Why a call did not return a result. Runners and gateways raise nothing else."""


class AgentError(Exception):
    """A call of an agent failed."""


class Temporary(AgentError):
    """Another try may succeed; `retry_after` is the other side's own wish in seconds, None if it has none."""

    def __init__(self, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class Permanent(AgentError):
    """Another try would fail in the same way."""


class TimedOut(AgentError):
    """The call's own deadline passed."""


class Canceled(AgentError):
    """The call was asked to stop, and did."""


class InvalidSpec(AgentError):
    """The agent's spec has errors; `findings` says which and where."""

    status = 400

    def __init__(self, findings):
        super().__init__("; ".join(f"{finding.pointer or '/'}: {finding.message}" for finding in findings))
        self.findings = findings

    def extra(self):
        return {"errors": [{"pointer": finding.pointer, "message": finding.message} for finding in self.findings]}


class NewerVersion(AgentError):
    """Someone saved a newer version meanwhile."""

    status = 409

    def __init__(self, name: str, number: int):
        super().__init__(f"{name} is at version {number} by now.")
        self.name = name
        self.number = number
