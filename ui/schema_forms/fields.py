"""The fields of a form: text is typed, a plain JSON value comes out."""

import contextlib
import json
import math
import re
from collections.abc import Collection
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator

from ui.reading import LARGEST_PLAIN

KINDS_OF_VALUES = {"object": dict, "array": list, "boolean": bool, "integer": int, "number": float}
ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT", "__bool__": lambda self: False})()


class Typed(str):
    """What someone typed, shown again as it is; any other value of a field is a value of JSON."""

    __slots__ = ()


class JsonField(forms.Field):
    """A value of JSON, typed as text. Its clean value is the plain value, or ABSENT where nothing was typed."""

    pattern = ""  # of the schema, as it is written
    is_marked = True  # beside its label it says whether it is required

    def __init__(self, *, nullable: bool = False, **given: Any) -> None:
        self.nullable = nullable
        super().__init__(**given)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return Typed(data) if isinstance(data, str) else data

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, Typed):
            return str(value)
        return "" if value is None or value is ABSENT else self.text_of(value)

    def to_python(self, value: Any) -> Any:
        if value is None or value == "":
            return None if self.nullable and self.required else ABSENT
        ProhibitNullCharactersValidator()(value)
        return self.value_of(value.replace("\r\n", "\n"))

    def validate(self, value: Any) -> None:
        if value is ABSENT and self.required:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """The schema of the whole says what is wrong."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return str(self.prepare_value(initial)).replace("\r\n", "\n") != (data or "").replace("\r\n", "\n")

    def text_of(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=2)

    def value_of(self, text: str) -> Any:
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as exc:
            raise ValidationError(f"Line {exc.lineno}, column {exc.colno} is no JSON: {exc.msg}.") from exc
        except (ValueError, RecursionError) as exc:
            raise ValidationError("This is no JSON.") from exc


class TextField(JsonField):
    def text_of(self, value: Any) -> str:
        return value if isinstance(value, str) else super().text_of(value)

    def value_of(self, text: str) -> str:
        return text


class NumberField(JsonField):
    def __init__(self, *, whole: bool = False, **given: Any) -> None:
        self.whole = whole
        super().__init__(**given)

    def text_of(self, value: Any) -> str:
        is_whole = isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_PLAIN
        return super().text_of(int(value) if is_whole else value)

    def value_of(self, text: str) -> int | float:
        return number_of(text, whole=self.whole)


class LinesField(JsonField):
    """A list of scalars, one a line; as JSON where lines would not bring it back as it was."""

    def __init__(self, *, kind: str, **given: Any) -> None:
        self.kind = kind
        super().__init__(**given)

    def text_of(self, value: Any) -> str:
        if not isinstance(value, list):
            return super().text_of(value)
        lines = [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value]
        survives = all(line and line == line.strip() and len(line.splitlines()) == 1 for line in lines)
        if not survives or (lines and lines[0].startswith("[")):
            return json.dumps(value, ensure_ascii=False)
        return "\n".join(lines)

    def value_of(self, text: str) -> list[Any]:
        if text.lstrip().startswith("["):
            with contextlib.suppress(ValidationError):
                whole = super().value_of(text)
                if isinstance(whole, list):
                    return whole
        return [self._item(line.strip(), n) for n, line in enumerate(text.split("\n"), 1) if line.strip()]

    def _item(self, line: str, number: int) -> Any:
        try:
            if self.kind in ("integer", "number"):
                return number_of(line, whole=self.kind == "integer")
        except ValidationError as exc:
            raise ValidationError(f"Line {number}: {exc.messages[0]}") from exc
        if self.kind == "boolean":
            if line not in ("true", "false"):
                raise ValidationError(f"Line {number}: write true or false.")
            return line == "true"
        return line


class ChoiceField(JsonField):
    """One of an enum's values, of any type."""

    def __init__(self, *, values: list[Any], **given: Any) -> None:
        self.by_key = {self.text_of(value): value for value in values if value is not None}
        choices = [("", "" if given.get("required") else "None")]
        choices += [(key, key) for key in self.by_key]
        super().__init__(widget=forms.Select(choices=choices), nullable=None in values, **given)

    def text_of(self, value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def value_of(self, text: str) -> Any:
        if text not in self.by_key:
            raise ValidationError("Choose one of those offered.")
        return self.by_key[text]


class FlagField(JsonField):
    widget = forms.CheckboxInput

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data

    def prepare_value(self, value: Any) -> Any:
        return value is True

    def to_python(self, value: Any) -> bool:
        return bool(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial is True) is not bool(data)


class WordsField(JsonField):
    """Text, where other JSON is allowed too: what reads as JSON of an allowed kind is that, the rest is text."""

    def __init__(self, *, kinds: Collection[str], **given: Any) -> None:
        self.kinds = {KINDS_OF_VALUES[kind] for kind in kinds if kind in KINDS_OF_VALUES}
        super().__init__(**given)

    def text_of(self, value: Any) -> str:
        return value if isinstance(value, str) and self.value_of(value) == value else super().text_of(value)

    def value_of(self, text: str) -> Any:
        try:
            value = super().value_of(text)
        except ValidationError:
            return text
        is_allowed = type(value) in self.kinds or (type(value) is int and float in self.kinds)
        return value if is_allowed or isinstance(value, str) else text


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def number_of(text: str, *, whole: bool) -> int | float:
    """The number someone typed; whole ones as integers. Raises ValidationError in words."""
    text = text.strip()
    try:
        if re.fullmatch(r"[+-]?[0-9]+", text):
            return int(text)
        number = float(text)
    except ValueError as exc:
        raise ValidationError("Write a number, such as 12 or 12.5.") from exc
    if not math.isfinite(number):
        raise ValidationError("Write a number, such as 12 or 12.5.")
    if whole and not number.is_integer():
        raise ValidationError("Write a whole number.")
    return int(number) if whole else number
