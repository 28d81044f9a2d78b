"""Why a run is where it is, drawn: times in the sentences go on counting in static/js/run.js."""

from collections.abc import Iterable

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from orchestration.reasons import Part, Reason

DRAWN = {
    "": "{text}",
    "name": "<b><bdi>{text}</bdi></b>",
    "quote": "“<bdi>{text}</bdi>”",
    "link": '<a href="{value}"><bdi>{text}</bdi></a>',
    "since": '<span class="nowrap" data-since="{value}">{text}</span>',
    "until": '<span class="nowrap" data-until="{value}">{text}</span>',
}


def sentences(reasons: Iterable[Reason]) -> list[SafeString]:
    return [format_html_join("", "{}", ((_drawn(part),) for part in reason.words)) for reason in reasons]


def _drawn(part: Part) -> SafeString:
    return format_html(DRAWN[part.kind], text=part.text, value=part.value)
