"""Which field, with which widget, a place of a JSON Schema gets."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from ui.schema_forms.days import MONTH, MONTH_WANTED, DayInput, kind_of_day
from ui.schema_forms.fields import ChoiceField, FlagField, JsonField, LinesField, NumberField, TextField, WordsField
from ui.schema_words import form_wanted

SHORT_TEXT = 200  # signs; what may be longer gets a box that grows
INPUT_TYPES = {"time": "time", "email": "email", "uri": "url", "password": "password"}
SCALARS = {"string", "integer", "number", "boolean"}
SHOWN_CHOICES = 500
LONGEST_EXAMPLE = 200  # signs


def field_of(schema: Any, *, label: str, required: bool, initial: Any = None, root: Any = None) -> JsonField:
    """The field of one place. `root`: the schema that references (`#/$defs/…`) point into."""
    schema = resolved(schema, root if root is not None else schema)
    kind, nullable = kind_of(schema)
    given: dict[str, Any] = {
        "label": str(schema.get("title") or label),
        "help_text": _help_of(schema),
        "required": required,
        "initial": schema.get("default") if initial is None else initial,
    }
    if isinstance(schema.get("enum"), list) or "const" in schema:
        return ChoiceField(values=schema.get("enum", [schema.get("const")])[:SHOWN_CHOICES], **given)
    if kind == "boolean" and not nullable:
        return FlagField(**{**given, "required": False})
    if kind in ("integer", "number"):
        widget = forms.NumberInput(attrs=_number_attributes(schema, kind))
        return NumberField(whole=kind == "integer", nullable=nullable, widget=widget, **given)
    if kind == "string":
        text = TextField(nullable=nullable, widget=_text_widget(schema, given["initial"]), **given)
        text.pattern = str(schema.get("pattern") or "")
        return text
    kinds = schema.get("type")
    if isinstance(kinds, list) and "string" in kinds:
        given["help_text"] = given["help_text"] or "Words, or JSON."
        box = forms.Textarea(attrs={"rows": 4})
        return WordsField(kinds=kinds, nullable=nullable, widget=box, **given)
    items = resolved(schema.get("items", {}), root if root is not None else schema)
    item_kind, item_nullable = kind_of(items)
    if kind == "array" and item_kind in SCALARS and not item_nullable:
        if not schema.get("description"):
            allowed = [str(value) for value in items.get("enum", [])]
            lines = f"One a line, of: {', '.join(allowed)}." if allowed else "One a line."
            given["help_text"] = f"{lines} {given['help_text']}".strip()
        box = forms.Textarea(attrs={"rows": 3})
        return LinesField(kind=item_kind, nullable=nullable, widget=box, **given)
    given["help_text"] = given["help_text"] or "JSON."
    attrs = {"rows": 4, "class": "mono", "spellcheck": "false"}
    return JsonField(nullable=nullable, widget=forms.Textarea(attrs=attrs), **given)


def kind_of(schema: Mapping[str, Any]) -> tuple[str, bool]:
    """(its one type or "", whether null is allowed beside it)."""
    named = schema.get("type", "")
    if isinstance(named, str):
        return named, False
    kinds = [kind for kind in named if kind != "null"]
    return (kinds[0] if len(kinds) == 1 else ""), "null" in named


def resolved(schema: Any, root: Any) -> Mapping[str, Any]:
    """The schema a reference into `root` stands for; {} for what cannot be followed."""
    for _ in range(10):
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        found: Any = root
        for token in reference.removeprefix("#").split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        schema = {**found, **{k: v for k, v in schema.items() if k != "$ref"}} if isinstance(found, Mapping) else {}
    return {}


def _help_of(schema: Mapping[str, Any]) -> str:
    """Its description, and an example: below the field, as words in it look like its value."""
    words = str(schema.get("description") or "").strip()
    examples = schema.get("examples")
    if not isinstance(examples, list) or not examples:
        return words or (MONTH_WANTED if kind_of_day(schema) == "month" else "")
    example = examples[0]
    if isinstance(example, list) and not any(isinstance(item, dict | list) for item in example):
        said = ", ".join(str(item) for item in example)
    else:
        said = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    if not said or len(said) > LONGEST_EXAMPLE:
        return words
    return f"{words}{'' if not words or words.endswith('.') else '.'} For example {said}".strip()


def _number_attributes(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    step = schema.get("multipleOf") or (1 if kind == "integer" else "any")
    attrs = {"step": step, "inputmode": "numeric" if kind == "integer" else "decimal"}
    return attrs | {name: schema[key] for name, key in (("min", "minimum"), ("max", "maximum")) if key in schema}


def _text_widget(schema: Mapping[str, Any], value: Any) -> forms.Widget:
    attrs: dict[str, Any] = {name.lower(): schema[name] for name in ("minLength", "maxLength") if schema.get(name)}
    longest, shape, pattern = schema.get("maxLength"), schema.get("format"), schema.get("pattern")
    kind = kind_of_day(schema)
    is_short = bool(kind or shape in INPUT_TYPES or pattern or (longest and longest <= SHORT_TEXT))
    if not is_short or (isinstance(value, str) and "\n" in value):
        return forms.Textarea(attrs={"rows": 1, "class": "grows", **attrs})
    if kind == "month" and not pattern:
        attrs |= {"pattern": MONTH, "title": MONTH_WANTED}
    elif isinstance(pattern, str) and (kind or "|" not in pattern):  # an anchor may be of one side of it alone
        attrs |= {"pattern": _as_html_pattern(pattern), "title": form_wanted(schema)}
    if kind:
        return DayInput(kind, attrs)
    widget = forms.TextInput(attrs=attrs)
    widget.input_type = INPUT_TYPES.get(str(shape), "text")
    return widget


def _as_html_pattern(pattern: str) -> str:
    """JSON Schema searches, HTML matches the whole."""
    start = "" if pattern.startswith("^") else ".*"
    end = "" if pattern.endswith("$") and not pattern.endswith("\\$") else ".*"
    inner = pattern.removeprefix("^").removesuffix("$" if not end else "")
    return f"{start}{inner}{end}"
