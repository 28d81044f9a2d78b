"""What `/styleguide/` shows of the apps: their own partials with sample data, handed in as `ready()` runs."""

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

_shown: dict[str, str] = {}


def register(template: str, sample: str) -> None:
    """`sample` is the dotted name of what makes the template's context, without a database."""
    _shown[template] = sample


def drawn(request: HttpRequest) -> list[SafeString]:
    return [render_to_string(template, import_string(sample)(), request) for template, sample in sorted(_shown.items())]
