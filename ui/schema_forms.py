"""Forms drawn from a JSON Schema: people type, a plain JSON value comes out, and errors land at their fields."""

import contextlib
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError as SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from ui.schema_words import form_wanted

WHOLE = "value"  # the one field of a schema that names no properties
MORE = "more"  # members beside the named ones
PLAIN_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
TAKEN = {WHOLE, MORE, "csrfmiddlewaretoken"}
SHORT_TEXT = 200  # signs; what may be longer gets a box that grows
LONGEST_MESSAGE = 300
INPUT_TYPES = {"date": "date", "time": "time", "email": "email", "uri": "url", "password": "password"}
SCALARS = {"string", "integer", "number", "boolean"}
KINDS_OF_VALUES = {"object": dict, "array": list, "boolean": bool, "integer": int, "number": float}
SHOWN_CHOICES = 500
WORDS_OF_RULES = {
    "required": "This field is required.",
    "minLength": "At least {} signs.",
    "maxLength": "At most {} signs.",
    "minimum": "At least {}.",
    "maximum": "At most {}.",
    "exclusiveMinimum": "More than {}.",
    "exclusiveMaximum": "Less than {}.",
    "minItems": "At least {} of them.",
    "maxItems": "At most {} of them.",
    "multipleOf": "A multiple of {}.",
}
ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT", "__bool__": lambda self: False})()


class Typed(str):
    """What someone typed, shown again as it is; any other value of a field is a value of JSON."""

    __slots__ = ()


class JsonField(forms.Field):
    """A value of JSON, typed as text. Its clean value is the plain value, or ABSENT where nothing was typed."""

    pattern = ""  # of the schema, as it is written

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


def field_of(schema: Any, *, label: str, required: bool, initial: Any = None, root: Any = None) -> JsonField:
    """The field of one place. `root`: the schema that references (`#/$defs/…`) point into."""
    schema = resolved(schema, root if root is not None else schema)
    kind, nullable = kind_of(schema)
    given: dict[str, Any] = {
        "label": str(schema.get("title") or label),
        "help_text": str(schema.get("description") or ""),
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
        box = forms.Textarea(attrs={"rows": 4, **_placeholder(schema)})
        return WordsField(kinds=kinds, nullable=nullable, widget=box, **given)
    items = resolved(schema.get("items", {}), root if root is not None else schema)
    item_kind, item_nullable = kind_of(items)
    if kind == "array" and item_kind in SCALARS and not item_nullable:
        if not given["help_text"]:
            allowed = [str(value) for value in items.get("enum", [])]
            given["help_text"] = f"One a line, of: {', '.join(allowed)}" if allowed else "One a line."
        box = forms.Textarea(attrs={"rows": 3, **_placeholder(schema, lines=True)})
        return LinesField(kind=item_kind, nullable=nullable, widget=box, **given)
    given["help_text"] = given["help_text"] or "JSON."
    attrs = {"rows": 4, "class": "mono", "spellcheck": "false", **_placeholder(schema)}
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


def _placeholder(schema: Mapping[str, Any], *, lines: bool = False) -> dict[str, str]:
    examples = schema.get("examples")
    if not isinstance(examples, list) or not examples:
        return {}
    example = examples[0]
    if lines and isinstance(example, list):
        return {"placeholder": "\n".join(str(item) for item in example)}
    return {"placeholder": example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)}


def _number_attributes(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    step = schema.get("multipleOf") or (1 if kind == "integer" else "any")
    attrs = {"step": step, "inputmode": "numeric" if kind == "integer" else "decimal", **_placeholder(schema)}
    return attrs | {name: schema[key] for name, key in (("min", "minimum"), ("max", "maximum")) if key in schema}


def _text_widget(schema: Mapping[str, Any], value: Any) -> forms.Widget:
    attrs: dict[str, Any] = _placeholder(schema)
    attrs |= {name.lower(): schema[name] for name in ("minLength", "maxLength") if schema.get(name)}
    longest, shape, pattern = schema.get("maxLength"), schema.get("format"), schema.get("pattern")
    is_short = bool(shape in INPUT_TYPES or pattern or (longest and longest <= SHORT_TEXT))
    if not is_short or (isinstance(value, str) and "\n" in value):
        return forms.Textarea(attrs={"rows": 1, "class": "grows", **attrs})
    if isinstance(pattern, str) and "|" not in pattern:  # an anchor may be of one side of it alone
        attrs |= {"pattern": _as_html_pattern(pattern), "title": form_wanted(schema)}
    widget = forms.TextInput(attrs=attrs)
    widget.input_type = INPUT_TYPES.get(str(shape), "text")
    return widget


def _as_html_pattern(pattern: str) -> str:
    """JSON Schema searches, HTML matches the whole."""
    start = "" if pattern.startswith("^") else ".*"
    end = "" if pattern.endswith("$") and not pattern.endswith("\\$") else ".*"
    inner = pattern.removeprefix("^").removesuffix("$" if not end else "")
    return f"{start}{inner}{end}"


class SchemaForm(forms.Form):
    """A form of `schema`'s properties; of a schema that names none, one field for JSON.

    After `is_valid()`, `value()` is the plain JSON value: members left empty are absent. `initial` is such a value.
    """

    def __init__(
        self, schema: Any, data: Any = None, initial: Any = None, *, prefix: str | None = None, label: str = "Value"
    ) -> None:
        super().__init__(data, prefix=prefix)
        self.schema = schema
        root = resolved(schema, schema)
        named = root.get("properties")
        self.names: dict[str, str] = {}  # property -> field
        if isinstance(named, Mapping) and named and kind_of(root)[0] in ("object", ""):
            self._add_properties(root, named, initial if isinstance(initial, Mapping) else {})
        else:
            whole = {**root, "title": root.get("title", label)}
            if whole.get("type") == "object":
                whole.pop("type")
            self.fields[WHOLE] = field_of(whole, label=label, required=True, initial=initial, root=schema)
        for field in self.fields.values():
            field.widget.attrs.setdefault("autocomplete", "off")

    def _add_properties(self, root: Mapping[str, Any], named: Mapping[str, Any], initial: Mapping[str, Any]) -> None:
        required = root.get("required") or []
        for number, (name, schema) in enumerate(named.items()):
            key = name if PLAIN_NAME.fullmatch(name) and name not in TAKEN else f"field-{number}"
            self.names[name] = key
            self.fields[key] = field_of(
                schema, label=_words(name), required=name in required, initial=initial.get(name), root=self.schema
            )
        others = {name: value for name, value in initial.items() if name not in named}
        unnamed = [name for name in required if name not in named]
        if others or unnamed or root.get("additionalProperties") or root.get("patternProperties"):
            words = f"A JSON object of further members{', with ' + ', '.join(unnamed) if unnamed else ''}."
            schema = {"title": "More", "description": words}
            self.fields[MORE] = field_of(schema, label="More", required=bool(unnamed), initial=others or None)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cleaned_data
        more = found.get(MORE)
        if self.names and more and not isinstance(more, dict):
            self.add_error(MORE, "Write a JSON object, such as {}.")
        if not self.errors:
            self.add_findings((pointer, words) for pointer, words in schema_errors(self.value(), self.schema))
        return found

    def value(self) -> Any:
        """The plain JSON value of what was typed; of a form that is valid, or while it is being cleaned."""
        found = self.cleaned_data
        if not self.names:
            return found.get(WHOLE)
        named = {name: found[key] for name, key in self.names.items() if found.get(key, ABSENT) is not ABSENT}
        return named | {name: inner for name, inner in (found.get(MORE) or {}).items() if name not in named}

    def add_findings(self, findings: Iterable[tuple[str, str]]) -> None:
        """Put (JSON Pointer into the value, message)s at their fields; those of no field above the form."""
        for pointer, message in findings:
            token, _, rest = pointer.removeprefix("/").partition("/")
            key = self.names.get(token.replace("~1", "/").replace("~0", "~")) if self.names else WHOLE
            place = rest if self.names and key else pointer.removeprefix("/")
            if self.names and not key and MORE in self.fields and token:
                key = MORE
            self.add_error(key, f"{place}: {message}" if place and (key or token) else message)


def _words(name: str) -> str:
    words = re.sub(r"[_-]+", " ", name).strip() or name
    return words[:1].upper() + words[1:]


def schema_errors(value: Any, schema: Any) -> Iterator[tuple[str, str]]:
    """(JSON Pointer, words) of each thing wrong with `value`; a missing member is told at its own place."""
    if not isinstance(schema, Mapping | bool):
        return
    try:
        for error in Draft202012Validator(schema, registry=Registry()).iter_errors(value):
            yield _pointer_of(error), _words_of(error)
    except Unresolvable as exc:
        yield "", f"The schema names {exc.ref!r}, which is not in it."


def _pointer_of(error: SchemaError) -> str:
    path = [str(token) for token in error.absolute_path]
    if error.validator == "required" and isinstance(error.instance, Mapping):
        missing = [
            name
            for name in _listed(error.validator_value)
            if name not in error.instance and repr(name) in error.message
        ]
        path += missing[:1]
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in path)


def _words_of(error: SchemaError) -> str:
    rule = error.validator_value
    if error.validator == "type":
        return f"This is to be of type {' or '.join([rule] if isinstance(rule, str) else _listed(rule))}."
    if error.validator == "pattern":
        return form_wanted(error.schema)[:LONGEST_MESSAGE]
    words = WORDS_OF_RULES.get(str(error.validator))
    return (words.format(rule) if words else error.message)[:LONGEST_MESSAGE]


def _listed(rule: Any) -> list[str]:
    return [str(part) for part in rule]
