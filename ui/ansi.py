"""Terminal colours as classes. Every other control sequence is left out, and what is text is escaped."""

import re
from collections.abc import Iterator

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

# A colour; any other sequence, an unfinished one too; any other control character but the tab.
SEQUENCE = re.compile(
    r"\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]?|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)
COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
STYLES = {1: "bold", 2: "faint", 3: "italic", 4: "underline"}


def as_html(text: str, found: str = "") -> SafeString:
    """`found` is marked wherever it stands within one colour, in any case."""
    words = re.compile(re.escape(found), re.IGNORECASE) if found else None
    parts = []
    for classes, piece in pieces(text):
        html = _marked(piece, words) if words else escape(piece)
        parts.append(f'<span class="{classes}">{html}</span>' if classes else html)
    return mark_safe("".join(parts))  # noqa: S308  every piece is escaped


def plain(text: str) -> str:
    """Without colours and other control sequences."""
    return "".join(piece for _, piece in pieces(text))


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """(classes, text) of each stretch."""
    if "\x1b" not in text and text.isprintable():
        yield "", text
        return
    styles: set[str] = set()
    colour = ""
    at = 0
    for sequence in SEQUENCE.finditer(text):
        if sequence.start() > at:
            yield _classes(colour, styles), text[at : sequence.start()]
        at = sequence.end()
        if sequence[1] is not None:
            colour = _changed(colour, styles, sequence[1])
    if at < len(text):
        yield _classes(colour, styles), text[at:]


def _changed(colour: str, styles: set[str], codes: str) -> str:
    """The colour after these codes; `styles` is changed in place. Colours beyond the sixteen are as none."""
    numbers = iter([int(code[:4] or 0) for code in codes.split(";")])
    for number in numbers:
        if number == 0:
            colour = ""
            styles.clear()
        elif number in STYLES:
            styles.add(STYLES[number])
        elif number == 22:
            styles -= {"bold", "faint"}
        elif number in (23, 24):
            styles.discard(STYLES[number - 20])
        elif 30 <= number <= 37 or 90 <= number <= 97:
            colour = COLOURS[number % 10]
        elif number == 39:
            colour = ""
        elif number in (38, 48):
            colour = "" if number == 38 else colour
            for _ in range(1 if next(numbers, 0) == 5 else 3):
                next(numbers, 0)
    return colour


def _classes(colour: str, styles: set[str]) -> str:
    names = sorted(styles) + ([colour] if colour else [])
    return " ".join(f"ansi-{name}" for name in names)


def _marked(text: str, words: re.Pattern[str]) -> str:
    parts = []
    at = 0
    for match in words.finditer(text):
        parts += [escape(text[at : match.start()]), f"<mark>{escape(match[0])}</mark>"]
        at = match.end()
    return "".join([*parts, escape(text[at:])])
