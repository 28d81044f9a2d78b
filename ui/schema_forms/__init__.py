"""Forms drawn from a JSON Schema: people type, a plain JSON value comes out, and errors land at their fields."""

from ui.schema_forms.drawing import field_of, kind_of, resolved
from ui.schema_forms.errors import schema_errors
from ui.schema_forms.fields import ABSENT, ChoiceField, FlagField, JsonField, TextField
from ui.schema_forms.forms import SchemaForm

__all__ = [
    "ABSENT",
    "ChoiceField",
    "FlagField",
    "JsonField",
    "SchemaForm",
    "TextField",
    "field_of",
    "kind_of",
    "resolved",
    "schema_errors",
]
