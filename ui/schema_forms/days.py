"""Days and months: which places of a schema are asked for with the browser's own field for them."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from django import forms

# As people write them in schemas, with [0-9] for \d.
PATTERNS = {
    "^[0-9]{4}-[0-9]{2}$": "month",
    "^[0-9]{4}-(0[1-9]|1[0-2])$": "month",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}$": "date",
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$": "date",
}
MONTH = r"\d{4}-\d{2}"  # that a browser without a field for months may check what is typed into its field for text
MONTH_WANTED = "Year and month, such as 2026-10."


def kind_of_day(schema: Mapping[str, Any]) -> str:
    """ "month", "date", or "" for a text that is neither."""
    shape = schema.get("format")
    if shape in ("month", "date"):
        return str(shape)
    return PATTERNS.get(str(schema.get("pattern") or "").replace(r"\d", "[0-9]"), "")


def is_day(kind: str, value: str) -> bool:
    try:
        date.fromisoformat(f"{value}-01" if kind == "month" else value)
    except ValueError:
        return False
    return len(value) == (7 if kind == "month" else 10)


class DayInput(forms.TextInput):
    """The browser's field for a month or a day. One of text for a value that is none, which that field would not show:
    what was typed stays."""

    def __init__(self, kind: str, attrs: dict[str, Any]) -> None:
        super().__init__(attrs)
        self.kind = self.input_type = kind

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        found = super().get_context(name, value, attrs)
        shown = found["widget"]["value"]
        if shown and not is_day(self.kind, shown):
            found["widget"]["type"] = "text"
        return found
