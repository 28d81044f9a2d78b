"""The reader's time zone, for every page."""

import zoneinfo
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.decorators import sync_and_async_middleware

from ui.shell import Preferences


@sync_and_async_middleware
def in_the_readers_zone(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    def zone_of(request: HttpRequest) -> Any:
        name = Preferences.of(request).zone
        return timezone.override(zoneinfo.ZoneInfo(name) if name else None)

    if iscoroutinefunction(get_response):

        async def zoned_async(request: HttpRequest) -> Any:
            with zone_of(request):
                return await get_response(request)

        return zoned_async

    def zoned(request: HttpRequest) -> Any:
        with zone_of(request):
            return get_response(request)

    return zoned
