"""What nobody else answers: pages in words for people, RFC 9457 problems for the API."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import REASON_NO_CSRF_COOKIE
from django.shortcuts import render

from accounts import kept_forms
from accounts.middleware import frame

NOT_FOUND = "Nothing is here, or it is not yours to see."
BROKEN = "This is our error, not yours; it is in the log."
# Their forms hold passwords, or are the admin's own.
NEVER_REPEATED = ("/accounts/", "/admin/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, HTTPStatus.BAD_REQUEST, "400.html", "The request could not be read.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    words = str(exception) or "You may not see this."
    return answer(request, HTTPStatus.FORBIDDEN, "403.html", words)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return answer(request, HTTPStatus.NOT_FOUND, "404.html", NOT_FOUND)


def broken(request: HttpRequest) -> HttpResponse:
    """Asks nothing of the database, which may be what is broken."""
    if is_for_machines(request):
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, BROKEN)
    alone: dict[str, Any] = {"words": BROKEN, "messages": [], "navigation": None}
    return render(request, "500.html", alone, status=HTTPStatus.INTERNAL_SERVER_ERROR)


def csrf_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Mostly a page that stayed open while its reader signed in again: what they wrote is offered to be sent anew.

    Only to our own page, by the browser's own word: another site could else have it sent by a careless press.
    """
    words = "This page was open while you signed in or out elsewhere, so we could not tell that it was you who sent it."
    if reason == REASON_NO_CSRF_COOKIE:
        words = "Your browser sent no cookies, so we could not tell that it was you. Allow them for this site."
    if is_for_machines(request):
        return problem(HTTPStatus.FORBIDDEN, words)
    kept = None
    if comes_from_here(request) and not request.path.startswith(NEVER_REPEATED):
        kept = kept_forms.form_of(request)
    frame(request)
    if kept is not None and kept_forms.is_of_another(kept, request):
        kept = None
    here = {"words": words, "kept": kept, "back": request.get_full_path()}
    return render(request, "csrf.html", here, status=HTTPStatus.FORBIDDEN)


def comes_from_here(request: HttpRequest) -> bool:
    origin = urlsplit(request.headers.get("Origin", ""))
    return origin.netloc == request.get_host()


def is_for_machines(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def answer(request: HttpRequest, status: HTTPStatus, template: str, words: str) -> HttpResponse:
    if is_for_machines(request):
        return problem(status, words)
    frame(request)
    return render(request, template, {"words": words}, status=status)


def problem(status: HTTPStatus, detail: str) -> JsonResponse:
    body = {"type": "about:blank", "status": status, "detail": detail}
    return JsonResponse(body, status=status, content_type="application/problem+json")
