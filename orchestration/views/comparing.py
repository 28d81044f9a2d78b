"""Two versions of a text, as the address asks for them: `?from=1&to=3`."""

from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest

from ui.addresses import whole_number
from ui.differences import difference


def compared(request: HttpRequest, texts_of: Callable[[set[int]], Mapping[int, str]]) -> dict[str, Any] | None:
    """{from, to, before, after, difference}; None unless both exist. `texts_of`: texts by number, of those that do."""
    before, after = (whole_number(request.GET.get(name, "")) for name in ("from", "to"))
    if before is None or after is None:
        return None
    texts = texts_of({before, after})
    if not {before, after} <= texts.keys():
        return None
    changes = difference(texts[before], texts[after])
    words = {"before": f"Version {before}", "after": f"version {after}"}
    return {"from": before, "to": after, "difference": changes, **words}
