"""The components that take a value: `{% load ui %}`. Each is shown on /styleguide/."""

import datetime
import json
from collections.abc import Iterable, Mapping
from typing import Any

from django import template
from django.template.defaultfilters import date as as_date
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ui import markdown as markdown_of
from ui.statuses import Look, look_of

register = template.Library()
SHOWN_NODES = 200
OPEN_DEPTH = 2
DEEPEST = 40
LONGEST_TEXT = 4000
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing beside words that say the same; screen readers pass over it."""
    return format_html('<span class="icon icon-{}" aria-hidden="true"></span>', name)


@register.simple_tag
def status(
    status: str,
    waits_for: str | None = None,
    *,
    until: datetime.datetime | None = None,
    attempt: int = 0,
    most: int = 0,
) -> SafeString:
    """The chip of a status. For what waits: `until` when, after which of how many attempts."""
    look = look_of(status, waits_for)
    return format_html(
        '<span class="chip tone-{}" data-status="{}"><span class="icon icon-{}" aria-hidden="true"></span>{}</span>',
        look.tone,
        status,
        look.icon,
        look_in_words(look, until, attempt, most),
    )


@register.simple_tag
def status_word(status: str, waits_for: str | None = None) -> str:
    """What the chip says, for where there is no room for one."""
    return look_of(status, waits_for).word


def look_in_words(look: Look, until: datetime.datetime | None, attempt: int, most: int) -> SafeString | str:
    """ "Retry 2 of 5 in 40 s"; static/js/run.js goes on counting. The plain word where it is not known until when."""
    if until is None or not look.until:
        return look.word
    left = format_html(
        '<span data-until="{}">{}</span>', until.isoformat(), counted((until - timezone.now()).total_seconds())
    )
    return format_html(look.until, left=left, next=f"{attempt + 1} of {most}" if most else attempt + 1)


@register.simple_tag
def tone(status: str, waits_for: str | None = None) -> str:
    return look_of(status, waits_for).tone


@register.simple_tag
def when(moment: datetime.datetime | None, nothing: str = "") -> SafeString | str:
    """A time: how long ago or ahead, as of now; the whole of it with its zone in the title."""
    if moment is None:
        return nothing
    here = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        moment.isoformat(),
        as_date(here, "j M Y H:i:s T"),
        relative((moment - timezone.now()).total_seconds()),
    )


@register.simple_tag
def at(moment: datetime.datetime | None, nothing: str = "") -> SafeString | str:
    """A time in full, in the reader's zone."""
    if moment is None:
        return nothing
    return format_html(
        '<time datetime="{}">{}</time>', moment.isoformat(), as_date(timezone.localtime(moment), "j M Y H:i T")
    )


def relative(seconds: float) -> str:
    """ "40 s ago", "in 3 min", "in 2 d 23 h", "just now". `static/js/shell.js` says it with the same words."""
    size = abs(seconds)
    if size < 5:
        return "just now"
    words = counted(size if size < 60 else size - size % 60)
    return f"{words} ago" if seconds < 0 else f"in {words}"


@register.filter
def duration(seconds: float | None) -> str:
    """ "<1 ms", "12 ms", "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "4 d 1 h"."""
    if seconds is None:
        return ""
    if seconds < 0.0995:
        return "<1 ms" if seconds < 0.001 else f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else _in_units(seconds)


def counted(seconds: float) -> str:
    """Of a time that goes on: in whole seconds, as static/js/shell.js says it, too."""
    return f"{max(0, int(seconds))} s" if seconds < 10 else _in_units(seconds)


def _in_units(seconds: float) -> str:
    parts: list[str] = []
    left = int(seconds)
    for length, unit in UNITS:
        if left >= length and len(parts) < 2:
            parts.append(f"{left // length} {unit}")
            left %= length
        elif parts:
            break
    return " ".join(parts)


@register.simple_tag
def between(start: datetime.datetime | None, end: datetime.datetime | None = None) -> str:
    """How long it took, or has taken until now."""
    if start is None:
        return ""
    return duration((end - start).total_seconds()) if end else counted((timezone.now() - start).total_seconds())


@register.simple_tag
def lasts(start: datetime.datetime | None, end: datetime.datetime | None = None) -> SafeString | str:
    """How long it took; while there is no `end`, as of now, and static/js/run.js goes on counting."""
    if start is None or end is not None:
        return between(start, end)
    return format_html('<span data-since="{}">{}</span>', start.isoformat(), between(start))


@register.simple_tag
def exactly(moment: datetime.datetime) -> SafeString:
    """A time to the millisecond, in the reader's zone."""
    here = timezone.localtime(moment)
    words = f"{as_date(here, 'j M H:i:s')}.{here.microsecond // 1000:03d}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), as_date(here, "j M Y H:i:s T"), words
    )


@register.filter
def usd(amount: float | None) -> str:
    """Dollars, small sums with more places; "" when unknown."""
    if amount is None:
        return ""
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"


@register.inclusion_tag("ui/copy_id.html")
def copy_id(value: str, label: str = "id") -> dict[str, Any]:
    """An identifier and a button that copies it."""
    return {"value": value, "label": label, "short": value if len(value) <= 20 else f"{value[:6]}…{value[-4:]}"}


@register.filter
def markdown(text: str, title: str = "") -> SafeString | str:
    """Safe HTML of Markdown; text too long for that comes back as it is, to be escaped by the template."""
    return markdown_of.render(text, title=title) or text


@register.inclusion_tag("ui/json_tree.html")
def json_tree(value: Any, label: str = "value", raw_url: str = "") -> dict[str, Any]:
    """A payload to look into: folds below two levels, the first 200 places, all of it by a button that copies it.

    With `raw_url`, where all of a large one lies, there is no such button.
    """
    shown: list[str] = []
    node = _node("", value, 0, shown)
    raw = "" if raw_url else json.dumps(value, ensure_ascii=False, indent=2)
    return {"node": node, "label": label, "raw": raw, "raw_url": raw_url}


def _node(key: str, value: Any, depth: int, shown: list[str]) -> dict[str, Any]:
    """{key, kind, text | children, size, is_open, left}: `left` is how many children, or signs, are not shown."""
    shown.append(key)
    node: dict[str, Any] = {"key": key, "is_open": depth < OPEN_DEPTH}
    if isinstance(value, Mapping | list):
        pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else enumerate(value)
        children = []
        for name, child in pairs:
            if len(shown) >= SHOWN_NODES or depth >= DEEPEST:
                break
            children.append(_node(str(name), child, depth + 1, shown))
        kind = "object" if isinstance(value, Mapping) else "list"
        return {**node, "kind": kind, "children": children, "size": len(value), "left": len(value) - len(children)}
    kind = (
        "text"
        if isinstance(value, str)
        else "null"
        if value is None
        else "flag"
        if isinstance(value, bool)
        else "number"
    )
    text = value if isinstance(value, str) else json.dumps(value)
    return {**node, "kind": kind, "text": text[:LONGEST_TEXT], "left": max(0, len(text) - LONGEST_TEXT)}
