"""`{% load ansi %}`: a line of a log, with the colours of a terminal."""

from django import template
from django.utils.safestring import SafeString

from ui.ansi import as_html

register = template.Library()


@register.filter
def ansi(text: str, found: str = "") -> SafeString:
    """Safe HTML; `found` is marked in it."""
    return as_html(text, found)
