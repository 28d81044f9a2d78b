"""The frame around every page: its navigation, filled by the apps, and the reader's preferences."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

THEMES = {"": "As the system", "light": "Light", "dark": "Dark"}
DENSITIES = {"": "Comfortable", "compact": "Compact"}
YEAR_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True)
class Entry:
    """One place of the navigation. `count` says how many there wait for whoever asks; `keys` reads `g r`."""

    label: str
    url_name: str
    icon: str
    order: int
    keys: str = ""
    count: Callable[[HttpRequest], int] | None = None
    on_phone: bool = False


_entries: dict[str, Entry] = {}


def register(entry: Entry) -> None:
    """Called from an app's `ready()`; the same name again replaces it."""
    _entries[entry.url_name] = entry


def entries() -> list[Entry]:
    return sorted(_entries.values(), key=lambda entry: entry.order)


@dataclass(frozen=True)
class Preferences:
    """From cookies, so that the first paint is right and each device has its own. What is unknown counts as unset."""

    theme: str = ""
    density: str = ""
    zone: str = ""
    zone_is_chosen: bool = False
    keys: bool = True

    @property
    def others(self) -> list[tuple[str, str, str]]:
        """(name, value, words) of what theme and density are not."""
        found = [("theme", value, f"Theme: {words}") for value, words in THEMES.items() if value != self.theme]
        return found + [
            ("density", value, f"Density: {words}") for value, words in DENSITIES.items() if value != self.density
        ]

    @classmethod
    def of(cls, request: HttpRequest) -> Preferences:
        cookies = request.COOKIES
        theme, density, zone = (cookies.get(name, "") for name in ("theme", "density", "zone"))
        return cls(
            theme=theme if theme in THEMES else "",
            density=density if density in DENSITIES else "",
            zone=zone if is_zone(zone) else "",
            zone_is_chosen=cookies.get("zone_is_chosen") == "1",
            keys=cookies.get("keys") != "off",
        )


def is_zone(name: str) -> bool:
    return bool(name) and name in zoneinfo.available_timezones()


def set_preference(response: Any, name: str, value: str) -> None:
    """One of theme, density, zone, zone_is_chosen, keys, first_steps; "" forgets it."""
    if value:
        response.set_cookie(name, value, max_age=YEAR_SECONDS, samesite="Lax", secure=settings.SECURE)
    else:
        response.delete_cookie(name)


def shell(request: HttpRequest) -> dict[str, Any]:
    """For every template: `preferences`, and `navigation` of whoever is a member: [{entry, url, count, is_here}]."""
    found: dict[str, Any] = {"preferences": Preferences.of(request), "csp_nonce": getattr(request, "csp_nonce", "")}
    member = getattr(request, "member", None)
    if member is None:
        return found
    places = []
    for entry in entries():
        url = reverse(entry.url_name)
        here = request.path == url if url == "/" else request.path.startswith(url)
        count = entry.count(request) if entry.count else 0
        counts = entry.count is not None  # a template would call it
        places.append({"entry": entry, "url": url, "counts": counts, "count": count, "is_here": here})
    return {**found, "navigation": places, "member": member}
