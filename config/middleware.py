"""What every answer says to the browser, and what no view needs to see."""

import secrets
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.decorators import sync_and_async_middleware

# A page's own <style> carries the nonce: it gives the nodes of a graph their places, which no class could.
PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
# The admin's skin writes styles and handlers into its pages; whoever may open it is staff.
ADMIN = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; manifest-src 'self'"
)
HEADERS = {
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@sync_and_async_middleware
def guard(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Nothing but our own files runs in a page; an address with a zero character, which no row can have, ends here."""
    if iscoroutinefunction(get_response):

        async def guarded_async(request: HttpRequest) -> HttpResponseBase:
            return admitted(request) or with_headers(request, await get_response(request))

        return guarded_async

    def guarded(request: HttpRequest) -> HttpResponseBase:
        return admitted(request) or with_headers(request, get_response(request))

    return guarded


def admitted(request: HttpRequest) -> HttpResponse | None:
    """A refusal, or None after the request got what templates ask it for."""
    if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
        return HttpResponse("The address holds a zero character.", status=400, content_type="text/plain")
    request.csp_nonce = secrets.token_urlsafe(16)  # type: ignore[attr-defined]
    return None


def with_headers(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    nonce = request.csp_nonce  # type: ignore[attr-defined]
    policy = ADMIN if request.path.startswith("/admin/") else PAGES.format(nonce=nonce)
    response.headers.setdefault("Content-Security-Policy", policy)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class Compress(GZipMiddleware):
    """Django's own, but not for asynchronous streams. It makes each piece of those a gzip file by itself, and browsers
    read the first one only; and compressed as a whole, an event would wait until a block is full."""

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        if response.streaming and response.is_async:
            return response
        return super().process_response(request, response)
