"""What every answer says to the browser, and what no view needs to see."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@sync_and_async_middleware
def guard(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Nothing but our own files runs in a page; an address with a zero character, which no row can have, ends here."""
    if iscoroutinefunction(get_response):

        async def guarded_async(request: HttpRequest) -> HttpResponseBase:
            refused = refusal(request)
            return refused or with_headers(await get_response(request))

        return guarded_async

    def guarded(request: HttpRequest) -> HttpResponseBase:
        return refusal(request) or with_headers(get_response(request))

    return guarded


def refusal(request: HttpRequest) -> HttpResponse | None:
    if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
        return HttpResponse("The address holds a zero character.", status=400, content_type="text/plain")
    return None


def with_headers(response: HttpResponseBase) -> HttpResponseBase:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
