"""What all apps' APIs share: how a body is read, and errors as RFC 9457 problems.

A class of an app's catalogue names its own `status` and members.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from accounts.exceptions import AccountsError
from agents.exceptions import AgentError
from approvals.exceptions import ApprovalError
from orchestration.exceptions import OrchestrationError

CATALOGUE = (AccountsError, AgentError, ApprovalError, OrchestrationError)


class BoundedJSONParser(JSONParser):
    """JSON no deeper than Python reads."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError as exc:
            raise ParseError("JSON parse error - it is nested too deeply.") from exc


def answer_error(exc: Exception, context: dict[str, Any]) -> Response | None:
    """The product's own errors by their `status` and `extra()`, the framework's by its handler. Others are bugs."""
    if isinstance(exc, CATALOGUE):
        set_rollback()
        return problem(getattr(exc, "status", 400), str(exc), getattr(exc, "extra", dict)())
    if isinstance(exc, RequestDataTooBig):
        most = f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes are allowed (setting MAX_REQUEST_BYTES)"
        return problem(413, f"The request is too large: {most}.", {})
    response = exception_handler(exc, context)
    if response is None:
        return None
    if isinstance(exc, ParseError):
        return problem(400, str(exc.detail), {"errors": [{"pointer": "", "message": str(exc.detail)}]}, response)
    if isinstance(exc, ValidationError):
        return problem(400, "The input is not valid.", {"errors": list(flatten(exc.detail))}, response)
    detail = exc.detail if isinstance(exc, APIException) else "Nothing is here, or it is not yours to see."
    return problem(response.status_code, str(detail), {}, response)


def problem(status: int, detail: str, extra: dict[str, Any], base: Response | None = None) -> Response:
    body = {"type": "about:blank", "status": status, "detail": detail, **extra}
    response = Response(body, status=status, content_type="application/problem+json")
    for name in ("WWW-Authenticate", "Retry-After"):
        if base is not None and name in base.headers:
            response.headers[name] = base.headers[name]
    return response


def flatten(detail: Any, pointer: str = "") -> Any:
    """DRF's nested error lists as (pointer, message) pairs, pointers by RFC 6901."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            here = pointer if name == "non_field_errors" else f"{pointer}/{name}"
            yield from flatten(inner, here)
    elif isinstance(detail, list):
        for position, inner in enumerate(detail):
            nested = isinstance(inner, dict | list)
            yield from flatten(inner, f"{pointer}/{position}" if nested else pointer)
    else:
        yield {"pointer": pointer, "message": str(detail)}
