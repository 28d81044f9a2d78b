import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from ui.reading import humanized
from ui.schema_forms.drawing import field_of, kind_of, resolved
from ui.schema_forms.errors import schema_errors
from ui.schema_forms.fields import ABSENT

WHOLE = "value"  # the one field of a schema that names no properties
MORE = "more"  # members beside the named ones
PLAIN_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
TAKEN = {WHOLE, MORE, "csrfmiddlewaretoken"}


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
                schema, label=humanized(name), required=name in required, initial=initial.get(name), root=self.schema
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
