"""Make static/icons.css from the drawings in static/vendor/lucide: `manage.py icons`."""

from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.management.base import BaseCommand

FOLDER = settings.BASE_DIR / "static" / "vendor" / "lucide"
TARGET = settings.BASE_DIR / "static" / "icons.css"


def stylesheet() -> str:
    """A mask for each drawing, so that it takes the colour of the words beside it and is one file to load."""
    rules = ["/* Made by `manage.py icons` from lucide (ISC licence); edit nothing here. */"]
    for file in sorted(FOLDER.glob("*.svg")):
        drawing = file.read_text().partition("-->")[2]
        data = quote(" ".join(drawing.split()).replace('"', "'"), safe=" ='/:,.()-")
        rules.append(f'.icon-{file.stem} {{ --drawing: url("data:image/svg+xml,{data}"); }}')
    return "\n".join(rules) + "\n"


class Command(BaseCommand):
    help = "Make static/icons.css from static/vendor/lucide."

    def handle(self, **options: Any) -> None:
        TARGET.write_text(stylesheet())
