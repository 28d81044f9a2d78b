"""The frame around pages that are not ours: sign-in and what belongs to it know nothing of members."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest

from accounts.authentication import member_of
from accounts.exceptions import NotAMember

FRAMED = "/accounts/"


class in_the_frame:
    """Whoever is signed in keeps their navigation on the pages below /accounts/."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, named: Any) -> None:
        if request.path.startswith(FRAMED):
            frame(request)


def frame(request: HttpRequest) -> None:
    """Set `request.member`, if a member asks."""
    if hasattr(request, "member") or not hasattr(request, "session"):
        return
    try:
        request.member = member_of(request)  # type: ignore[attr-defined]
    except NotAMember:
        return
