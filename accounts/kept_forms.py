"""What someone sent after their session had ended: kept while they sign in, then shown, and sent when they say so."""

import time
from typing import Any
from urllib.parse import urlsplit

from allauth.core import ratelimit
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

LARGEST_CHARACTERS = 200_000
KEPT_SECONDS = 1800
SESSION_KEY = "kept_form"
NOT_SHOWN = {"csrfmiddlewaretoken", "_member", "_kept"}


def form_of(request: HttpRequest) -> dict[str, Any]:
    """{action, fields: [[name, value]], page}: `page` is where it was written; no `fields` when they are too large."""
    fields = [[name, text] for name, texts in request.POST.lists() if name not in NOT_SHOWN for text in texts]
    size = sum(len(name) + len(str(text)) for name, text in fields)
    return {
        "action": request.get_full_path(),
        "fields": fields if size <= LARGEST_CHARACTERS else [],
        "is_too_large": size > LARGEST_CHARACTERS,
        "page": _page_of(request),
        "member": request.POST.get("_member"),
        "at": time.time(),
    }


def keep(request: HttpRequest) -> None:
    """A stranger may do this too, so not often, and not for long."""
    if ratelimit.consume(request, action="keep_form"):
        request.session[SESSION_KEY] = form_of(request)


def kept(request: HttpRequest) -> dict[str, Any] | None:
    """The form of this session, unless it is too old."""
    form: dict[str, Any] | None = request.session.get(SESSION_KEY)
    return form if form is not None and time.time() - form["at"] < KEPT_SECONDS else None


def is_of_another(form: dict[str, Any], request: HttpRequest) -> bool:
    """Whether somebody else wrote it, or the same person in another organization."""
    member = getattr(request, "member", None)
    return bool(form["member"]) and (member is None or form["member"] != str(member.pk))


def forget(request: HttpRequest) -> None:
    request.session.pop(SESSION_KEY, None)


def _page_of(request: HttpRequest) -> str:
    referer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referer, allowed_hosts={request.get_host()}):
        return request.path
    parts = urlsplit(referer)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
