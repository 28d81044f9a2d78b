"""What people type into a decision: the field of each place of a payload, and the form as it was sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.forms import Textarea, TextInput
from django.http import QueryDict

from approvals.editing import NoSuchPlace, tokens_of, value_at
from approvals.exceptions import Finding
from approvals.models import ABORT, RETRY, Request
from ui.schema_forms import (
    ABSENT,
    ChoiceField,
    FlagField,
    JsonField,
    TextField,
    field_of,
    kind_of,
    resolved,
    schema_errors,
)

NAME = "edit:"  # + pointer: the name of a place's field
LOOK = "look"  # the button that shows what follows from what was typed, and decides nothing
OTHERS = "edits"  # the field for places that are not drawn: a JSON object of pointers and values
PARTICULAR = {"email", "url", "date", "time", "password"}
ONE_LINE = 60  # signs: text that long or shorter, of one line, is typed in one
CHECKED = ("min", "max", "step", "minlength", "maxlength", "pattern")
GUESSES: dict[type, dict[str, Any]] = {  # where no schema says what a value is
    bool: {"type": "boolean"},
    int: {"type": "number"},
    float: {"type": "number"},
    str: {"type": "string"},
}


def field_at(schema: Any, tokens: Sequence[str], value: Any) -> JsonField:
    """The field for a value that lies at `tokens`: as the schema of the payload says, else by the value's type.

    A value that breaks its own schema is no reason to keep a form from being sent: then nothing is checked there.
    """
    found = schema_at(schema, tokens)
    if not kind_of(found)[0] and not {"enum", "const"} & set(found):
        found = {**GUESSES.get(type(value), {}), **{key: rule for key, rule in found.items() if key != "type"}}
    label = tokens[-1] if tokens else "Value"
    drawn = field_of(found, label=label, required=True, initial=value, root=schema)
    if isinstance(drawn, ChoiceField) and value is not None and drawn.text_of(value) not in drawn.by_key:
        text = drawn.text_of(value)
        drawn.by_key[text] = value
        drawn.widget.choices = [(text, text), *drawn.widget.choices]
    if isinstance(drawn, FlagField) and not isinstance(value, bool):
        drawn = field_of({}, label=label, required=True, initial=value)
    if type(drawn) is JsonField:
        drawn.widget.attrs |= {"rows": 1, "class": "mono grows"}
    if isinstance(drawn.widget, Textarea) and isinstance(value, str) and len(value) <= ONE_LINE and value.isprintable():
        attrs = {name: rule for name, rule in drawn.widget.attrs.items() if name not in ("rows", "class")}
        drawn.widget = TextInput(attrs)
    if not isinstance(value, dict | list):
        _keep_showing(drawn, value, found)
    return drawn


def _keep_showing(drawn: JsonField, value: Any, schema: Mapping[str, Any]) -> None:
    """As a browser would: it empties a field whose value is none of its kind, and sends no form that breaks a rule."""
    widget: Any = drawn.widget
    kind = getattr(widget, "input_type", "")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if any(schema_errors(value, schema)):
        for name in CHECKED:
            widget.attrs.pop(name, None)
        if kind == "number":
            widget.attrs["step"] = "any"
    if (kind == "number" and not is_number and value is not None) or (kind in PARTICULAR and not _fits(kind, value)):
        widget.input_type = "text"


def schema_at(schema: Any, tokens: Sequence[str]) -> Mapping[str, Any]:
    """What the schema says of that place, as far as it says it plainly; else {}."""
    here = resolved(schema, schema)
    for token in tokens:
        named, listed = here.get("properties"), here.get("prefixItems")
        if isinstance(named, Mapping) and token in named:
            inner: Any = named[token]
        elif isinstance(listed, list) and token.isdecimal() and int(token) < len(listed):
            inner = listed[int(token)]
        elif token.isdecimal() and isinstance(here.get("items"), Mapping):
            inner = here["items"]
        else:
            inner = here.get("additionalProperties")
        here = resolved(inner, schema)
    return here


def _fits(kind: str, value: Any) -> bool:
    """Whether a browser's field of that kind shows the value as it is."""
    if not isinstance(value, str):
        return False
    if kind in ("email", "url"):
        return value == value.strip() and "\n" not in value
    if kind == "date":
        return len(value) == len("2026-11-21") and value.replace("-", "").isdecimal()
    return False


@dataclass
class Answer:
    """A form as it was sent. `edits` are those places whose text is not that of the payload it was typed over."""

    choice: str
    digest: str
    note: str
    typed: dict[str, str] = field(default_factory=dict)
    edits: dict[str, Any] = field(default_factory=dict)
    errors: list[Finding] = field(default_factory=list)
    others: str = ""

    @classmethod
    def of(cls, sent: QueryDict, row: Request) -> "Answer":
        digest = sent.get("digest", "")
        answer = cls(sent.get("choice", ""), digest, sent.get("note", "").replace("\r\n", "\n"))
        seen = row.shown_as(digest) if digest else row
        for name in sent:
            if name.startswith(NAME):
                answer._read(name.removeprefix(NAME), str(sent[name]), seen)
        answer.others = sent.get(OTHERS, "").strip()
        if answer.others:
            answer._read_others()
        if sent.get("without_edits") and answer.choice in (RETRY, ABORT):
            answer.edits, answer.errors = {}, []
        return answer

    def _read(self, pointer: str, text: str, seen: Request) -> None:
        try:
            tokens = tokens_of(pointer)
            value = value_at(seen.payload, tokens)
        except NoSuchPlace:
            self.typed[pointer] = self.edits[pointer] = text  # the verb says what is wrong with it
            return
        found = field_at(seen.payload_schema, tokens, value)
        if not found.has_changed(value, text):
            return
        self.typed[pointer] = text
        try:
            self.edits[pointer] = _clean(found, text)
        except ValidationError as exc:
            self.errors += [{"pointer": pointer, "message": message} for message in exc.messages]

    def _read_others(self) -> None:
        try:
            found = field_of({}, label=OTHERS, required=True).clean(self.others)
        except ValidationError as exc:
            self.errors += [{"pointer": "/edits", "message": message} for message in exc.messages]
            return
        if not isinstance(found, dict):
            self.errors.append({"pointer": "/edits", "message": 'Write an object, such as {"/rows/0/amount": 12}.'})
            return
        self.edits = {**found, **self.edits}


def _clean(found: JsonField, text: str) -> Any:
    if isinstance(found, TextField) and text == "" and not found.nullable:
        return ""
    value = found.clean(text)
    return None if value is ABSENT else value
