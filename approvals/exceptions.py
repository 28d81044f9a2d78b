"""Why an answer is refused. `status` is the HTTP status, `extra()` what a problem says besides."""

from typing import Any, ClassVar, TypedDict


class Finding(TypedDict):
    """`pointer` is an RFC 6901 place: of the payload for edits, else of the answer (`/choice`, `/note`)."""

    pointer: str
    message: str


class ApprovalError(Exception):
    """The answer was refused."""

    status: ClassVar[int] = 400

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "")

    def extra(self) -> dict[str, Any]:
        return {}


class NotAllowed(ApprovalError):
    """You may not decide this request."""

    status = 403


class AlreadyEnded(ApprovalError):
    """The request has ended. Your answer is kept as evidence and changes nothing."""

    status = 409

    def __init__(self, message: str = "", *, ended_as: str) -> None:
        super().__init__(
            message or f"The request is {ended_as}. A late answer is kept as evidence and changes nothing."
        )
        self.ended_as = ended_as

    def extra(self) -> dict[str, Any]:
        return {"ended_as": self.ended_as}


class StaleDigest(ApprovalError):
    """What would happen is not what you have seen. Look again, then decide with the digest expected now."""

    status = 409

    def __init__(self, *, expected: str, payload: Any, difference: list[dict[str, Any]] | None) -> None:
        super().__init__()
        self.expected = expected
        self.payload = payload
        self.difference = difference

    def extra(self) -> dict[str, Any]:
        """`difference` is null when the digest seen was never one of this question."""
        return {"expected": self.expected, "payload": self.payload, "difference": self.difference}


class InvalidAnswer(ApprovalError):
    """The answer is not valid."""

    def __init__(self, errors: list[Finding]) -> None:
        super().__init__()
        self.errors = errors

    def extra(self) -> dict[str, Any]:
        return {"errors": self.errors}
